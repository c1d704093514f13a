// A loop that a forked child continues to use, and its parent too. With -DFIXED the child closes it
// and creates its own.
//
// With the argument "daemon" the parent ends at once, and only the child continues. With "prefork"
// the parent only waits for its children, which use the loop one after another. Neither shares
// anything.
#include "finding.h"
#include <sys/wait.h>

static void one_wait(int epfd)
{
    struct epoll_event event;
    must(epoll_wait(epfd, &event, 1, -1) == 1, "epoll_wait");
}

int main(int argc, char **argv)
{
    const char *how = argc > 1 ? argv[1] : "both";
    int epfd = epoll_create1(EPOLL_CLOEXEC);
    add(epfd, eventfd(1, EFD_CLOEXEC), EPOLLIN);
    one_wait(epfd);
    int both = strcmp(how, "both") == 0;
    for (int i = 0; i < (strcmp(how, "prefork") == 0 ? 3 : 1); i++) {
        pid_t child = fork();
        if (child == 0) {
#ifdef FIXED
            if (both) {
                close(epfd);
                epfd = epoll_create1(EPOLL_CLOEXEC);
            }
#endif
            struct epoll_event event = {.events = EPOLLIN};
            int added = epoll_ctl(epfd, EPOLL_CTL_ADD, eventfd(1, EFD_CLOEXEC), &event); /* HERE */
            must(added == 0, "EPOLL_CTL_ADD");
            one_wait(epfd);
            exit(0);
        }
        if (strcmp(how, "daemon") == 0)
            _exit(0);
        int status;
        must(waitpid(child, &status, 0) == child && status == 0, "the child");
    }
    if (both)
        one_wait(epfd);
    return found(epfd, -1);
}
