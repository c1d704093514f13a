// A loop that polls again and again, without waiting, for events. With -DFIXED it waits.
#include "finding.h"
#include "clock.h"

int main(void)
{
    int epfd = epoll_create1(EPOLL_CLOEXEC);
    add(epfd, eventfd(0, EFD_CLOEXEC), EPOLLIN);
    struct epoll_event events[8];
    // By processor time and count: the speed of the machine does not matter.
    for (long round = 0; round < 3000000 || clock() < 2 * CLOCKS_PER_SEC; round++) {
#ifdef FIXED
        int n = epoll_wait(epfd, events, 8, 300);
        round = 3000000;
        if (n == 0)
            break;
#else
        int n = epoll_wait(epfd, events, 8, 0); /* HERE */
#endif
        must(n == 0, "epoll_wait");
    }
    return found(epfd, -1);
}
