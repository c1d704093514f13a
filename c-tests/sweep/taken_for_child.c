/* A fork that fails returns -1, which is treated like the child's 0: the parent does one child's
 * work, and ends. Lost output. */
#include "event_loop.h"

/* Unknown to the compiler, which would otherwise make two places of one fork. */
static volatile int wanted = 2;

int main(void) {
    for (int i = 0; i < wanted; i++) {
        pid_t child = fork();
#ifdef FIXED
        if (child < 0) {
            perror("fork");
            return 1;
        }
#endif
        if (child <= 0)
            _exit(0);
    }
    while (wait(NULL) > 0) {
    }
    puts("both have worked");
    return 0;
}
