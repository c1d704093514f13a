/* The helper of a helper crashes. By then its parent is gone, and only the init process sees its
 * end. */
#include "event_loop.h"

int main(void) {
    pid_t child = fork();
    if (child < 0) {
        perror("fork");
        return 1;
    }
    if (child == 0) {
        if (fork() != 0)
            _exit(0);
        connect_ends();
        int loop = epoll_create1(EPOLL_CLOEXEC);
#ifdef FIXED
        if (loop < 0)
            _exit(1);
#endif
        int *volatile descriptor = loop < 0 ? NULL : &ends[0];
        _exit(watch(loop, *descriptor) != 0);
    }
    waitpid(child, NULL, 0);
    puts("started");
    return 0;
}
