/* The child crashes, and its parent does not check how it ended. */
#include "event_loop.h"

int main(void) {
    connect_ends();
    pid_t child = fork();
    if (child == 0) {
        int loop = epoll_create1(0);
        int *volatile descriptor = loop < 0 ? NULL : &ends[0];
        _exit(watch(loop, *descriptor) != 0);
    }
    waitpid(child, NULL, 0);
    puts("ok");
    return 0;
}
