// gevent #1536 (support EPOLLEXCLUSIVE; gunicorn #2266): forked workers, each with a loop of its
// own, watch one listening socket. A connection wakes them all. One accepts it, and accept fails
// with EAGAIN in the others.
#include "../tcp.h"
#include <sys/wait.h>

enum { WORKERS = 4, CONNECTIONS = 300 };

static int worker(int listener, int stop)
{
    int epfd = epoll_create1(EPOLL_CLOEXEC), in_vain = 0;
    add(epfd, listener, EPOLLIN); /* HERE */
    add(epfd, stop, EPOLLIN);
    for (;;) {
        struct epoll_event events[64];
        int count = epoll_wait(epfd, events, 64, -1);
        for (int i = 0; i < count; i++) {
            if (events[i].data.fd == stop)
                exit(0);
            int connection = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
            in_vain += connection < 0;
            if (connection >= 0) {
                must(write(connection, "x", 1) == 1, "the answer");
                close(connection);
            }
        }
    }
}

int main(void)
{
    int listener = listens(SOCK_NONBLOCK, 128), stop[2];
    must(pipe2(stop, O_CLOEXEC) == 0, "pipe2");
    for (int i = 0; i < WORKERS; i++) {
        pid_t child = fork();
        must(child >= 0, "fork");
        if (child == 0) {
            close(stop[1]);
            worker(listener, stop[0]);
        }
    }
    for (int i = 0; i < CONNECTIONS; i++) {
        char byte;
        int client = connects();
        must(read(client, &byte, 1) == 1, "the answer");
        close(client);
        // So that all workers are waiting again.
        usleep(1000);
    }
    close(stop[1]);
    for (int i = 0; i < WORKERS; i++) {
        int status;
        must(wait(&status) > 0 && status == 0, "a worker");
    }
    return found(-1, -1);
}
