// A descriptor is closed while a thread waits on an instance that watches it. Another descriptor
// gets its number at once, and the wait returns an event for it. Fixed: DEL before the close.
//
// -DFIRST: in the instance's first wait. -DQUIET: no event for the number arrives. -DLAST: the
// instance watches nothing else. -DGENERATION: the data of the events is no number.
#include "finding.h"
#include <pthread.h>
#include <sys/syscall.h>

static int epfd, wake, tid;

static void *wait_for_one(void *nothing)
{
    struct epoll_event event;
#ifndef FIRST
    // The instance's first wait: from then on it belongs to this thread.
    must(epoll_wait(epfd, &event, 1, 0) == 0, "epoll_wait");
#endif
    __atomic_store_n(&tid, (int)syscall(SYS_gettid), __ATOMIC_RELEASE);
#ifdef LAST
    must(epoll_wait(epfd, &event, 1, 1500) == 0, "epoll_wait"); /* LAST */
#else
    must(epoll_wait(epfd, &event, 1, -1) == 1, "epoll_wait"); /* WAIT */
#endif
    return nothing;
}

int main(void)
{
    pthread_t thread;
    epfd = epoll_create1(EPOLL_CLOEXEC);
    wake = event(0);
    int fd = event(0);
#ifndef LAST
    add(epfd, wake, EPOLLIN);
#endif
    add(epfd, fd, EPOLLIN);
    must(pthread_create(&thread, NULL, wait_for_one, NULL) == 0, "pthread_create");
    while (__atomic_load_n(&tid, __ATOMIC_ACQUIRE) == 0)
        usleep(1000);
    await_call(tid, SYS_epoll_wait);
#ifdef FIXED
    must(epoll_ctl(epfd, EPOLL_CTL_DEL, fd, NULL) == 0, "EPOLL_CTL_DEL");
    close(fd);
#else
    close(fd); /* HERE */
#endif
#if defined QUIET || defined LAST || defined FIXED
    must(eventfd_write(wake, 1) == 0, "eventfd_write");
#else
    must(event(0) == fd, "the same number");
    struct epoll_event interest = {.events = EPOLLIN, .data.u64 = fd};
#ifdef GENERATION
    interest.data.u64 |= 1ull << 32;
#endif
    must(epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &interest) == 0, "EPOLL_CTL_ADD");
    must(eventfd_write(fd, 1) == 0, "eventfd_write");
#endif
    pthread_join(thread, NULL);
    return found(epfd, fd);
}
