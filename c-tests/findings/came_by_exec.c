// A program that starts with an epoll instance of its parent at number 20, and has one of its own.
// The parent is also this program, without the library. With -DFIXED the parent has set
// close-on-exec. With the argument "used" the instance is passed on to be used, and is used.
#include "finding.h"

int main(int argc, char **argv)
{
    const char *how = argc > 1 ? argv[1] : "parent";
    if (strcmp(how, "parent") == 0) {
        int epfd = epoll_create1(EPOLL_CLOEXEC);
        must(dup2(epfd, 20) == 20, "dup2");
#ifdef FIXED
        fcntl(20, F_SETFD, FD_CLOEXEC);
#endif
        must(setenv("LD_PRELOAD", getenv("PRELOAD_LATER"), 1) == 0, "setenv");
        execl("/proc/self/exe", argv[0], argc > 2 ? argv[2] : "child", (char *)NULL);
        return 4;
    }
    int epfd = epoll_create1(EPOLL_CLOEXEC);
    add(epfd, eventfd(1, EFD_CLOEXEC), EPOLLIN);
    struct epoll_event event;
    must(epoll_wait(epfd, &event, 1, 0) == 1, "epoll_wait");
    if (strcmp(how, "used") == 0)
        must(epoll_wait(20, &event, 1, 0) == 0, "epoll_wait");
    close(epfd);
    return found(20, -1);
}
