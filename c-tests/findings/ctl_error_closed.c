// Changes an interest whose descriptor was closed. Fixed: it is changed while it is open.
#include "finding.h"

int main(void)
{
    int epfd = epoll_create1(EPOLL_CLOEXEC), fd = event(1);
    struct epoll_event interest = {.events = EPOLLIN | EPOLLOUT, .data.fd = fd};
    add(epfd, fd, EPOLLIN);
#ifndef FIXED
    close(fd);
#endif
    int result = epoll_ctl(epfd, EPOLL_CTL_MOD, fd, &interest); /* HERE */
#ifdef FIXED
    must(result == 0, "EPOLL_CTL_MOD");
    close(fd);
#else
    must(result == -1 && errno == EBADF, "EPOLL_CTL_MOD");
#endif
    return found(epfd, fd);
}
