// Three threads wait on one instance, which watches a listening socket level-triggered: each
// connection wakes two of them. With -DFIXED: EPOLLET, and each accepts until no connection is
// left.
#include "tcp.h"
#include "clock.h"
#include <pthread.h>

#ifdef FIXED
enum { EVENTS = EPOLLIN | EPOLLET };
#else
enum { EVENTS = EPOLLIN };
#endif

static int epfd, listener;
static volatile int stops;

// Takes a little while, as a server does that looks something up before it accepts.
static void *serve(void *nothing)
{
    struct epoll_event events[8];
    while (!stops) {
        if (epoll_wait(epfd, events, 8, 10) != 1)
            continue;
        usleep(100);
        int client;
        while ((client = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) >= 0)
            close(client);
    }
    return nothing;
}

int main(void)
{
    listener = listens(SOCK_NONBLOCK, 4096);
    epfd = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event interest = {.events = EVENTS, .data.fd = listener};
    must(epoll_ctl(epfd, EPOLL_CTL_ADD, listener, &interest) == 0, "EPOLL_CTL_ADD"); /* HERE */
    pthread_t threads[3];
    for (int i = 0; i < 3; i++)
        must(pthread_create(&threads[i], NULL, serve, NULL) == 0, "pthread_create");
    struct since since = begin();
    for (int made = 0; made < 1000 || runs(&since, 3000); made++) {
        int client = connects();
        // One after another, until the server has closed it.
        char nothing;
        must(read(client, &nothing, 1) == 0, "read");
        resets(client);
    }
    stops = 1;
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    int numbers[] = {epfd, listener};
    close(listener);
    close(epfd);
    return found(numbers[0], numbers[1]);
}
