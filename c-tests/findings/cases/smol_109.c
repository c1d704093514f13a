// smol #109, mio #1614, bun #34780: the time to the next timer is rounded down to whole
// milliseconds. Below one it is 0, and the loop spins until the timer is due. With -DFIXED: it is
// rounded up.
#include "../burns.h"

static long nanoseconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000 + now.tv_nsec;
}

int main(void)
{
    enum { PERIOD = 900000, MILLISECOND = 1000000 };
    int epfd = epoll_create1(EPOLL_CLOEXEC);
    add(epfd, event(0), EPOLLIN);
    long next = nanoseconds() + PERIOD;
    struct since since = begin();
    struct epoll_event events[8];
    while (goes_on(&since, 2200)) {
        long left = next - nanoseconds();
        if (left < 0)
            left = 0;
#ifdef FIXED
        left += MILLISECOND - 1;
#endif
        must(epoll_wait(epfd, events, 8, (int)(left / MILLISECOND)) == 0, "epoll_wait"); /* HERE */
        if (nanoseconds() >= next)
            next = nanoseconds() + PERIOD;
    }
    return found(epfd, -1);
}
