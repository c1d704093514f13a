// Adds what is already watched, and ignores the failure. Fixed: MOD if ADD returns EEXIST, as libuv
// does.
#include "finding.h"

int main(void)
{
    int epfd = epoll_create1(EPOLL_CLOEXEC), fd = event(1);
    struct epoll_event interest = {.events = EPOLLIN | EPOLLOUT, .data.fd = fd};
    add(epfd, fd, EPOLLIN);
    int result = epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &interest); /* HERE */
    must(result == -1 && errno == EEXIST, "EPOLL_CTL_ADD");
#ifdef FIXED
    must(epoll_ctl(epfd, EPOLL_CTL_MOD, fd, &interest) == 0, "EPOLL_CTL_MOD");
#endif
    return found(epfd, fd);
}
