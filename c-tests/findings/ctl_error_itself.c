// An instance is added to itself.
#include "finding.h"

int main(void)
{
    int epfd = epoll_create1(EPOLL_CLOEXEC);
#ifndef FIXED
    struct epoll_event interest = {.events = EPOLLIN, .data.fd = epfd};
    int result = epoll_ctl(epfd, EPOLL_CTL_ADD, epfd, &interest); /* HERE */
    must(result == -1 && errno == EINVAL, "EPOLL_CTL_ADD");
#endif
    return found(epfd, epfd);
}
