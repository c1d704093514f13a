// A loop that looks every millisecond whether something has come. With -DMENDED: once in 16 ms, as a game does for each frame.
#include "finding.h"
#include "clock.h"

int main(void)
{
    int epfd = epoll_create1(EPOLL_CLOEXEC);
    add(epfd, eventfd(0, EFD_CLOEXEC), EPOLLIN);
    struct epoll_event events[8];
#ifdef MENDED
    for (int round = 0; round < 60; round++) {
        usleep(15000);
#else
    for (int round = 0; round < 1500; round++) {
#endif
        must(epoll_wait(epfd, events, 8, 1) == 0, "epoll_wait"); /* HERE */
    }
    return found(epfd, -1);
}
