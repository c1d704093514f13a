// Two threads wait for connections on one listening socket, each on an instance of its own: each connection wakes both. With
// -DMENDED: EPOLLEXCLUSIVE.
#include "finding.h"
#include "clock.h"
#include <arpa/inet.h>
#include <pthread.h>

#ifdef MENDED
enum { EVENTS = EPOLLIN | EPOLLEXCLUSIVE };
#else
enum { EVENTS = EPOLLIN };
#endif

static int listener;

// Serves for a while.
static void *serve(void *epfd)
{
    struct epoll_event event = {.events = EVENTS, .data.fd = listener}, events[8];
    must(epoll_ctl(*(int *)epfd, EPOLL_CTL_ADD, listener, &event) == 0, "EPOLL_CTL_ADD"); /* HERE */
    for (struct since since = begin(); runs(&since, 200);)
        if (epoll_wait(*(int *)epfd, events, 8, 10) == 1)
            close(accept4(listener, NULL, NULL, SOCK_CLOEXEC));
    return NULL;
}

int main(void)
{
    listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    must(bind(listener, (struct sockaddr *)&address, sizeof address) == 0 && listen(listener, 16) == 0, "listen");
    int second = epoll_create1(EPOLL_CLOEXEC);
    int first = epoll_create1(EPOLL_CLOEXEC);
    pthread_t threads[2];
    must(pthread_create(&threads[0], NULL, serve, &first) == 0, "pthread_create");
    must(pthread_create(&threads[1], NULL, serve, &second) == 0, "pthread_create");
    pthread_join(threads[0], NULL);
    pthread_join(threads[1], NULL);
    return found(second, listener);
}
