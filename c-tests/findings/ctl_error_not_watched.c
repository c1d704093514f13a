// Changes an interest whose descriptor was closed, and whose number belongs to another file. Fixed:
// ADD if MOD returns ENOENT, as libevent does.
#include "finding.h"

int main(void)
{
    int epfd = epoll_create1(EPOLL_CLOEXEC), fd = event(1);
    struct epoll_event interest = {.events = EPOLLIN | EPOLLOUT, .data.fd = fd};
    add(epfd, fd, EPOLLIN);
    close(fd);
    must(event(1) == fd, "the number is given again");
    int result = epoll_ctl(epfd, EPOLL_CTL_MOD, fd, &interest); /* HERE */
    must(result == -1 && errno == ENOENT, "EPOLL_CTL_MOD");
#ifdef FIXED
    must(epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &interest) == 0, "EPOLL_CTL_ADD");
#endif
    return found(epfd, fd);
}
