// An eventfd that wakes the loop is never read and stays readable. With -DFIXED it is read each
// time, and another thread writes it again at once, so that the loop runs as fast and gets the same
// event each time.
#include "finding.h"
#include "burns.h"
#include <poll.h>
#include <pthread.h>

static volatile int stops;

static void *waker(void *eventfd)
{
    while (!stops) {
        struct pollfd state = {.fd = *(int *)eventfd, .events = POLLIN};
        if (poll(&state, 1, 0) == 0)
            eventfd_write(*(int *)eventfd, 1);
    }
    return NULL;
}

int main(void)
{
    int epfd = epoll_create1(EPOLL_CLOEXEC), wakeup = eventfd(1, EFD_CLOEXEC);
    add(epfd, wakeup, EPOLLIN);
    pthread_t thread;
#ifdef FIXED
    must(pthread_create(&thread, NULL, waker, &wakeup) == 0, "pthread_create");
#else
    (void)thread, (void)waker;
#endif
    struct epoll_event events[8];
    for (struct since since = begin(); goes_on(&since, 600);) {
        if (epoll_wait(epfd, events, 8, 50) != 1) /* HERE */
            continue;
#ifdef FIXED
        eventfd_t count;
        must(eventfd_read(wakeup, &count) == 0 && count == 1, "eventfd_read");
#endif
    }
#ifdef FIXED
    stops = 1;
    pthread_join(thread, NULL);
#endif
    return found(epfd, wakeup);
}
