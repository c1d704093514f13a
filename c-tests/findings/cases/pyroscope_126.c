// pyroscope-rs #126 (TDengine #3656): each session creates an epoll instance and a timer, and on an
// error returns without closing either. With -DEVENTFDS an eventfd instead; with -DTHREADS each
// session in a thread of its own. With -DFIXED both are closed.
#include "../finding.h"
#include <pthread.h>
#include <sys/timerfd.h>

static int last;

static void *session(void *unused)
{
    int epfd = epoll_create1(EPOLL_CLOEXEC); /* INSTANCE */
    must(epfd >= 0, "epoll_create1");
#ifdef EVENTFDS
    last = eventfd(1, EFD_CLOEXEC); /* EVENTFD */
#else
    struct itimerspec soon = {.it_value.tv_nsec = 1};
    last = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC); /* TIMER */
    must(timerfd_settime(last, 0, &soon, NULL) == 0, "timerfd_settime");
#endif
    add(epfd, last, EPOLLIN);
    struct epoll_event event;
    must(epoll_wait(epfd, &event, 1, -1) == 1, "the event");
#ifdef FIXED
    close(last);
    close(epfd);
#endif
    return unused;
}

int main(void)
{
    for (int i = 0; i < 150; i++) {
#ifdef THREADS
        pthread_t thread;
        must(pthread_create(&thread, NULL, session, NULL) == 0, "pthread_create");
        pthread_join(thread, NULL);
#else
        session(NULL);
#endif
    }
    return found(-1, last);
}
