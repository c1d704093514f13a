// Room for two events, although many more descriptors are ready each time. With -DFIXED: room for
// all.
#include "finding.h"
#include "clock.h"

enum { WATCHES = 16 };
#ifdef FIXED
enum { ROOM = WATCHES };
#else
enum { ROOM = 2 };
#endif

int main(void)
{
    int epfd = epoll_create1(EPOLL_CLOEXEC), ready[WATCHES];
    for (int i = 0; i < WATCHES; i++)
        add(epfd, ready[i] = eventfd(1, EFD_CLOEXEC), EPOLLIN);
    struct epoll_event events[ROOM];
    for (int round = 0; round < 20000; round++) {
        int n = epoll_wait(epfd, events, ROOM, -1); /* HERE */
        must(n == ROOM, "epoll_wait");
        for (int i = 0; i < n; i++) {
            eventfd_t count;
            must(eventfd_read(events[i].data.fd, &count) == 0 && eventfd_write(events[i].data.fd, 1) == 0, "eventfd");
        }
    }
    return found(epfd, -1);
}
