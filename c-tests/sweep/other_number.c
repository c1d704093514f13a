/* Without epoll, another method counts what is ready, and counts one too many: wrong output. */
#include "event_loop.h"
#include <poll.h>

static int by_poll(void) {
    struct pollfd both[2] = {{.fd = ends[0], .events = POLLIN}, {.fd = ends[1], .events = POLLIN}};
    int ready = poll(both, 2, 1000);
#ifdef FIXED
    return ready;
#else
    return ready + 1;
#endif
}

int main(void) {
    connect_ends();
    give("x");
    int loop = epoll_create1(EPOLL_CLOEXEC), ready;
    struct epoll_event events[2];
    if (loop >= 0 && watch(loop, ends[0]) == 0 && watch(loop, ends[1]) == 0)
        ready = epoll_wait(loop, events, 2, 1000);
    else
        ready = by_poll();
    printf("%d ready\n", ready);
    return 0;
}
