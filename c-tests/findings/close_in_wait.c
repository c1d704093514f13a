// An instance is closed while a thread waits on it. Fixed: the thread is woken and joined first.
#include "finding.h"
#include <pthread.h>
#include <sys/syscall.h>

static int epfd, wake, tid;

static void *wait_for_one(void *nothing)
{
    struct epoll_event event;
    __atomic_store_n(&tid, (int)syscall(SYS_gettid), __ATOMIC_RELEASE);
    must(epoll_wait(epfd, &event, 1, -1) == 1, "epoll_wait"); /* WAIT */
    return nothing;
}

int main(void)
{
    pthread_t thread;
    epfd = epoll_create1(EPOLL_CLOEXEC);
    wake = event(0);
    add(epfd, wake, EPOLLIN);
    must(pthread_create(&thread, NULL, wait_for_one, NULL) == 0, "pthread_create");
    while (__atomic_load_n(&tid, __ATOMIC_ACQUIRE) == 0)
        usleep(1000);
    await_call(tid, SYS_epoll_wait);
#ifdef FIXED
    must(eventfd_write(wake, 1) == 0, "eventfd_write");
    pthread_join(thread, NULL);
    close(epfd);
#else
    close(epfd); /* HERE */
    must(eventfd_write(wake, 1) == 0, "eventfd_write");
    pthread_join(thread, NULL);
#endif
    return found(epfd, -1);
}
