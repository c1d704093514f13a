// A loop that does long work between two waits. With -DFIXED it works in parts, with a wait between
// them.
#include "finding.h"
#include "clock.h"

#ifdef FIXED
enum { PARTS = 20 };
#else
enum { PARTS = 1 };
#endif

int main(void)
{
    int epfd = epoll_create1(EPOLL_CLOEXEC);
    add(epfd, eventfd(1, EFD_CLOEXEC), EPOLLIN);
    struct epoll_event events[8];
    for (int round = 0; round < 12 * PARTS; round++) {
        must(epoll_wait(epfd, events, 8, -1) == 1, "epoll_wait"); /* HERE */
        usleep(120000 / PARTS);
    }
    return found(epfd, -1);
}
