// Loops that get the same event at full speed and handle it: no defect. They have a connection and
// a pipe that are read as fast as another thread fills them, and connections that are accepted as
// fast as they arrive.
#include "tcp.h"
#include "clock.h"
#include <pthread.h>

static volatile int stops;
static int connection[2], pipes[2], listener;
static char bytes[4096];

static void *fill(void *fd)
{
    while (!stops)
        must(write(*(int *)fd, bytes, sizeof bytes) > 0, "write");
    close(*(int *)fd);
    return NULL;
}

static void *connect_often(void *unused)
{
    while (!stops)
        resets(connects());
    return unused;
}

static void *read_one(void *fd)
{
    int epfd = epoll_create1(EPOLL_CLOEXEC);
    add(epfd, *(int *)fd, EPOLLIN);
    struct epoll_event events[8];
    char read_here[512];
    while (epoll_wait(epfd, events, 8, -1) == 1 && read(*(int *)fd, read_here, sizeof read_here) > 0)
        ;
    close(epfd);
    return NULL;
}

static void *accept_all(void *unused)
{
    int epfd = epoll_create1(EPOLL_CLOEXEC);
    add(epfd, listener, EPOLLIN);
    struct epoll_event events[8];
    while (!stops)
        if (epoll_wait(epfd, events, 8, 20) == 1)
            close(accept4(listener, NULL, NULL, SOCK_CLOEXEC));
    close(epfd);
    return unused;
}

int main(void)
{
    listener = listens(SOCK_NONBLOCK, 4096);
    connection[1] = connects();
    connection[0] = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    must(pipe2(pipes, O_CLOEXEC) == 0, "pipe2");
    pthread_t threads[6];
    must(pthread_create(&threads[0], NULL, fill, &connection[1]) == 0, "pthread_create");
    must(pthread_create(&threads[1], NULL, fill, &pipes[1]) == 0, "pthread_create");
    must(pthread_create(&threads[2], NULL, connect_often, NULL) == 0, "pthread_create");
    must(pthread_create(&threads[3], NULL, read_one, &connection[0]) == 0, "pthread_create");
    must(pthread_create(&threads[4], NULL, read_one, &pipes[0]) == 0, "pthread_create");
    must(pthread_create(&threads[5], NULL, accept_all, NULL) == 0, "pthread_create");
    usleep(1500000);
    stops = 1;
    for (int i = 0; i < 6; i++)
        pthread_join(threads[i], NULL);
    return found(-1, -1);
}
