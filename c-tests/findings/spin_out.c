// EPOLLOUT is requested although there is nothing to write: a socket is nearly always writable
// (haproxy #411). With -DFIXED something is written each time, at full speed, and the events are
// the same.
#include "tcp.h"
#include "burns.h"
#include <pthread.h>

static void *reader(void *connection)
{
    static char bytes[65536];
    while (read(*(int *)connection, bytes, sizeof bytes) > 0)
        ;
    return NULL;
}

int main(void)
{
    int epfd = epoll_create1(EPOLL_CLOEXEC), listener = listens(0, 16);
    int client = connects();
    int connection = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    pthread_t thread;
    must(pthread_create(&thread, NULL, reader, &client) == 0, "pthread_create");
    add(epfd, connection, EPOLLOUT);
    struct epoll_event events[8];
    for (struct since since = begin(); goes_on(&since, 600);) {
        int n = epoll_wait(epfd, events, 8, 50); /* HERE */
#ifdef FIXED
        if (n == 1)
            must(write(connection, "byte", 4) == 4, "write");
#else
        (void)n;
#endif
    }
    close(connection);
    pthread_join(thread, NULL);
    return found(epfd, connection);
}
