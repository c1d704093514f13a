// Two threads wait for connections on one listening socket, each on its own instance: each
// connection wakes both. With -DFIXED: EPOLLEXCLUSIVE.
#include "tcp.h"
#include "clock.h"
#include <pthread.h>

#ifdef FIXED
enum { EVENTS = EPOLLIN | EPOLLEXCLUSIVE };
#else
enum { EVENTS = EPOLLIN };
#endif

static int listener;
static volatile int stops;

// Serves until the end.
static void *serve(void *epfd)
{
    struct epoll_event event = {.events = EVENTS, .data.fd = listener}, events[8];
    must(epoll_ctl(*(int *)epfd, EPOLL_CTL_ADD, listener, &event) == 0, "EPOLL_CTL_ADD"); /* HERE */
    while (!stops)
        if (epoll_wait(*(int *)epfd, events, 8, 10) == 1)
            close(accept4(listener, NULL, NULL, SOCK_CLOEXEC));
    return NULL;
}

int main(void)
{
    listener = listens(SOCK_NONBLOCK, 4096);
    int second = epoll_create1(EPOLL_CLOEXEC), first = epoll_create1(EPOLL_CLOEXEC);
    pthread_t threads[2];
    must(pthread_create(&threads[0], NULL, serve, &first) == 0, "pthread_create");
    must(pthread_create(&threads[1], NULL, serve, &second) == 0, "pthread_create");
    struct since since = begin();
    for (int made = 0; made < 5000 || runs(&since, 1500); made++)
        resets(connects());
    stops = 1;
    pthread_join(threads[0], NULL);
    pthread_join(threads[1], NULL);
    // As servers do before they end: the herd was found earlier.
    int number = listener;
    close(listener);
    return found(second, number);
}
