// Edge-triggered readers that pause on purpose: no defect.
//
// Arguments: `relay`: what is read goes to a client that does not read; `rate`: the rest is read a
// second later, by a timeout; `works`: another thread computes what to do with it; `short`: the
// rest is read after 0.2 s; `wake`: an eventfd that is never read; `brief`: data is available when
// the program ends, and its loop has not slept.
#include "tcp.h"
#include "clock.h"
#include <pthread.h>

static volatile int rounds;

static void *work(void *nothing)
{
    for (;;)
        rounds++;
    return nothing;
}

int main(int count, char **arguments)
{
    must(count == 2, "a mode");
    const char *mode = arguments[1];
    int epfd = epoll_create1(EPOLL_CLOEXEC), listener = listens(0, 16), peer = connects();
    int source = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK), client = -1;
    char bytes[4096] = {0};
    int is_wake = strcmp(mode, "wake") == 0;
    if (is_wake)
        source = event(1);
    add(epfd, source, EPOLLIN | EPOLLET);
    must(write(peer, bytes, 4096) == 4096, "write");
    if (strcmp(mode, "relay") == 0) {
        connects();
        client = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        while (write(client, bytes, sizeof bytes) > 0)
            ;
        add(epfd, client, EPOLLOUT | EPOLLET);
    }
    pthread_t worker;
    if (strcmp(mode, "works") == 0)
        must(pthread_create(&worker, NULL, work, NULL) == 0, "pthread_create");
    if (strcmp(mode, "brief") == 0)
        return found(epfd, source);
    int is_paused = 1, pause = strcmp(mode, "short") == 0 ? 200 : strcmp(mode, "rate") == 0 ? 1000 : 100000;
    for (struct since since = begin(); runs(&since, 2200);) {
        struct epoll_event events[4];
        int got = epoll_wait(epfd, events, 4, 50);
        if (got > 0 && events[0].data.fd == source && !is_wake)
            must(read(source, bytes, 8) == 8, "read");
        if (is_paused && !runs(&since, pause)) {
            is_paused = 0;
            while (read(source, bytes, sizeof bytes) > 0)
                ;
        }
    }
    return found(epfd, source);
}
