// squeak-vm #684, as in many servers: an edge-triggered interest reports once that the client has
// closed its end. The read returns 0, and the handler does not close: the socket stays in
// CLOSE_WAIT, and stays watched. With -DFIXED it closes; with -DTHREADS the loop has a thread of
// its own.
#include "../tcp.h"
#include <pthread.h>
#include <stdatomic.h>

enum { CONNECTIONS = 200 };

static int epfd, listener, last;

static void round_of_events(void)
{
    struct epoll_event events[16];
    int count = epoll_wait(epfd, events, 16, -1);
    for (int i = 0; i < count; i++) {
        int fd = events[i].data.fd;
        if (fd == listener) {
            last = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK); /* HERE */
            must(last >= 0, "accept4");
            add(epfd, last, EPOLLIN | EPOLLRDHUP | EPOLLET);
            continue;
        }
        char bytes[64];
        ssize_t got;
        while ((got = read(fd, bytes, sizeof bytes)) > 0)
            ;
#ifdef FIXED
        if (got == 0)
            close(fd);
#endif
    }
}

static atomic_int rounds;

static void *loop(void *unused)
{
    for (;;) {
        round_of_events();
        rounds++;
    }
    return unused;
}

// What was just done is one event of the loop.
static void loop_turns(void)
{
#ifdef THREADS
    static int seen;
    for (seen++; rounds < seen;)
        usleep(50);
#else
    round_of_events();
#endif
}

int main(void)
{
    listener = listens(SOCK_NONBLOCK, 128);
    epfd = epoll_create1(EPOLL_CLOEXEC);
    add(epfd, listener, EPOLLIN);
#ifdef THREADS
    pthread_t thread;
    must(pthread_create(&thread, NULL, loop, NULL) == 0, "pthread_create");
#else
    (void)loop;
#endif
    for (int i = 0; i < CONNECTIONS; i++) {
        int client = connects();
        loop_turns();
        must(write(client, "GET", 3) == 3, "the request");
        loop_turns();
        close(client);
        loop_turns();
    }
    return found(-1, last);
}
