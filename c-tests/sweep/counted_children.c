/* It waits for as many children as it wanted, not for as many as it has: spin. */
#include "event_loop.h"

/* Unknown to the compiler, which would otherwise make two places of one fork. */
static volatile int wanted = 2;

int main(void) {
    int left = 0;
    for (int i = 0; i < wanted; i++) {
        pid_t child = fork();
        if (child == 0)
            _exit(0);
#ifdef FIXED
        if (child < 0) {
            perror("fork");
            continue;
        }
#endif
        left++;
    }
    while (left > 0) {
        if (wait(NULL) > 0)
            left--;
    }
    puts("all children have ended");
    return 0;
}
