// Two instances are added to each other. Fixed: only one watches the other.
#include "finding.h"

int main(void)
{
    int epfd = epoll_create1(EPOLL_CLOEXEC), other = epoll_create1(EPOLL_CLOEXEC);
    add(epfd, other, EPOLLIN);
#ifndef FIXED
    struct epoll_event interest = {.events = EPOLLIN, .data.fd = epfd};
    int result = epoll_ctl(other, EPOLL_CTL_ADD, epfd, &interest); /* HERE */
    must(result == -1 && errno == ELOOP, "EPOLL_CTL_ADD");
#endif
    return found(other, epfd);
}
