// Three threads wait on one instance for requests on one connection, level-triggered: while one
// handles a request, the next is woken for it too, and both read. With -DFIXED: EPOLLONESHOT, armed
// again when the request is done.
#include "finding.h"
#include "clock.h"
#include <pthread.h>

#ifdef FIXED
enum { EVENTS = EPOLLIN | EPOLLONESHOT };
#else
enum { EVENTS = EPOLLIN };
#endif

static int epfd, ends[2];
static volatile int stops;

static void *serve(void *nothing)
{
    struct epoll_event events[8];
    while (!stops) {
        if (epoll_wait(epfd, events, 8, 10) != 1)
            continue;
        usleep(300);
        char request;
        if (recv(ends[0], &request, 1, MSG_DONTWAIT) == 1)
            must(send(ends[0], &request, 1, MSG_NOSIGNAL) == 1, "send");
#ifdef FIXED
        struct epoll_event again = {.events = EVENTS, .data.fd = ends[0]};
        must(epoll_ctl(epfd, EPOLL_CTL_MOD, ends[0], &again) == 0, "EPOLL_CTL_MOD");
#endif
    }
    return nothing;
}

int main(void)
{
    must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0, "socketpair");
    epfd = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event interest = {.events = EVENTS, .data.fd = ends[0]};
    must(epoll_ctl(epfd, EPOLL_CTL_ADD, ends[0], &interest) == 0, "EPOLL_CTL_ADD"); /* HERE */
    pthread_t threads[3];
    for (int i = 0; i < 3; i++)
        must(pthread_create(&threads[i], NULL, serve, NULL) == 0, "pthread_create");
    struct since since = begin();
    char byte = 0;
    for (int made = 0; made < 500 || runs(&since, 2000); made++)
        must(send(ends[1], &byte, 1, 0) == 1 && recv(ends[1], &byte, 1, 0) == 1, "request");
    stops = 1;
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    int numbers[] = {epfd, ends[0]};
    close(ends[0]);
    close(ends[1]);
    close(epfd);
    return found(numbers[0], numbers[1]);
}
