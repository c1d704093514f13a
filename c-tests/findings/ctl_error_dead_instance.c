// Adds to an instance that was closed. Fixed: the instance is closed last.
#include "finding.h"

int main(void)
{
    int epfd = epoll_create1(EPOLL_CLOEXEC), fd = event(1);
    struct epoll_event interest = {.events = EPOLLIN, .data.fd = fd};
#ifndef FIXED
    close(epfd);
#endif
    int result = epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &interest); /* HERE */
#ifdef FIXED
    must(result == 0, "EPOLL_CTL_ADD");
#else
    must(result == -1 && errno == EBADF, "EPOLL_CTL_ADD");
#endif
    close(epfd);
    return found(epfd, fd);
}
