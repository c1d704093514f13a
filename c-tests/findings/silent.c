// A timer for each of two hundred requests, watched by the only loop and never closed. No other end
// shows that it is no longer needed. With -DEVENTFDS an eventfd. With -DFIXED it is closed with its
// request.
#include "finding.h"
#include <sys/timerfd.h>

int main(void)
{
    int epfd = epoll_create1(EPOLL_CLOEXEC), last = -1;
    for (int i = 0; i < 200; i++) {
#ifdef EVENTFDS
        last = eventfd(1, EFD_CLOEXEC); /* EVENTFD */
#else
        struct itimerspec soon = {.it_value.tv_nsec = 1};
        last = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC); /* TIMER */
        must(timerfd_settime(last, 0, &soon, NULL) == 0, "timerfd_settime");
#endif
        add(epfd, last, EPOLLIN | EPOLLET);
        struct epoll_event event;
        must(epoll_wait(epfd, &event, 1, -1) == 1 && event.data.fd == last, "the event");
#ifdef FIXED
        close(last);
#endif
        // So that the end of the program is no standstill, on however busy a machine.
        usleep(1000);
    }
    return found(-1, last);
}
