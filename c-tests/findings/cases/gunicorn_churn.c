// gunicorn's threaded workers created 396 instances in 1.7 seconds: one for each of their short
// waits. With -DTHREADS: four threads do so. With -DCOSTLY: and nothing else. With -DFIXED: each
// thread has one instance, and changes what it watches.
#include "../burns.h"
#include <pthread.h>

enum { ROUNDS = 400 };

static void works(void)
{
#ifndef COSTLY
    for (volatile int i = 0; i < 300000; i++)
        ;
#endif
}

static void *serves(void *argument)
{
    (void)argument;
#ifdef COSTLY
    enum { TIMES = 10 * ROUNDS };
#else
    enum { TIMES = ROUNDS };
#endif
#ifdef FIXED
    int epfd = epoll_create1(EPOLL_CLOEXEC);
#endif
    for (int i = 0; i < TIMES; i++) {
        struct epoll_event events[8];
        int fd = event(1);
#ifndef FIXED
        int epfd = epoll_create1(EPOLL_CLOEXEC); /* HERE */
#endif
        add(epfd, fd, EPOLLIN);
        must(epoll_wait(epfd, events, 8, 50) == 1, "epoll_wait");
        works();
        must(epoll_ctl(epfd, EPOLL_CTL_DEL, fd, NULL) == 0, "EPOLL_CTL_DEL");
        close(fd);
#ifndef FIXED
        close(epfd);
#endif
    }
#ifdef FIXED
    close(epfd);
#endif
    return NULL;
}

int main(void)
{
#ifdef THREADS
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        must(pthread_create(&threads[i], NULL, serves, NULL) == 0, "pthread_create");
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
#else
    serves(NULL);
#endif
    return found(-1, -1);
}
