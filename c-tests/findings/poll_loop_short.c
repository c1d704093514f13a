// A loop that polls every millisecond, or whose timer is due every millisecond: no call shows
// which.
#include "finding.h"

int main(void)
{
    int epfd = epoll_create1(EPOLL_CLOEXEC);
    add(epfd, eventfd(0, EFD_CLOEXEC), EPOLLIN);
    struct epoll_event events[8];
    for (int round = 0; round < 1500; round++)
        must(epoll_wait(epfd, events, 8, 1) == 0, "epoll_wait");
    return found(epfd, -1);
}
