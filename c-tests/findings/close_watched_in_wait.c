// A descriptor is closed while a thread waits on an instance that watches it. Mended: DEL before the close.
#include "finding.h"
#include <pthread.h>
#include <sys/syscall.h>

static int epfd, wake, tid;

static void *wait_for_one(void *nothing)
{
    struct epoll_event event;
    // The instance's first wait: it is this thread's from then on.
    must(epoll_wait(epfd, &event, 1, 0) == 0, "epoll_wait");
    __atomic_store_n(&tid, (int)syscall(SYS_gettid), __ATOMIC_RELEASE);
    must(epoll_wait(epfd, &event, 1, -1) == 1, "epoll_wait"); /* WAIT */
    return nothing;
}

int main(void)
{
    pthread_t thread;
    epfd = epoll_create1(EPOLL_CLOEXEC);
    wake = event(0);
    int fd = event(0);
    add(epfd, wake, EPOLLIN);
    add(epfd, fd, EPOLLIN);
    must(pthread_create(&thread, NULL, wait_for_one, NULL) == 0, "pthread_create");
    while (__atomic_load_n(&tid, __ATOMIC_ACQUIRE) == 0)
        usleep(1000);
    await_call(tid, SYS_epoll_wait);
#ifdef MENDED
    must(epoll_ctl(epfd, EPOLL_CTL_DEL, fd, NULL) == 0, "EPOLL_CTL_DEL");
    close(fd);
#else
    close(fd); /* HERE */
#endif
    must(eventfd_write(wake, 1) == 0, "eventfd_write");
    pthread_join(thread, NULL);
    return found(epfd, fd);
}
