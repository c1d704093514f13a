// As stale_data.c, but a forked child keeps the old file: only the kernel knows that it lives
// (moonbitlang async #571).
#include "finding.h"

int main(void)
{
    int epfd = epoll_create1(EPOLL_CLOEXEC), fd = event(1), until[2];
    struct epoll_event events[4];
    must(pipe(until) == 0, "pipe");
    add(epfd, fd, EPOLLIN);
    if (fork() == 0) {
        char byte;
        close(until[1]);
        while (read(until[0], &byte, 1) > 0)
            ;
        _exit(0);
    }
#ifdef FIXED
    must(epoll_ctl(epfd, EPOLL_CTL_DEL, fd, NULL) == 0, "EPOLL_CTL_DEL");
#endif
    close(fd);
    must(event(0) == fd, "the number is given again");
    struct epoll_event interest = {.events = EPOLLIN, .data.fd = fd};
    int added = epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &interest); /* HERE */
    must(added == 0, "EPOLL_CTL_ADD");
    must(epoll_wait(epfd, events, 4, 0) >= 0, "epoll_wait");
    return found(epfd, fd);
}
