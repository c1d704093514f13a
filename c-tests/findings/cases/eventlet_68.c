// eventlet #68 (atfork; bitbucket #80): a prefork server whose master used eventlet's hub before it
// forked. Master and worker share the hub's epoll instance. Each creates a socket, which gets the
// same number in both, and registers it: each gets the other's events, for a number that means
// something else to it.
#include "../finding.h"
#include <sys/wait.h>

int main(void)
{
    int epfd = epoll_create(1023), go[2];
    must(pipe2(go, O_CLOEXEC) == 0, "pipe2");
    pid_t child = fork();
    struct epoll_event event;
    if (child == 0) {
        int own = eventfd(0, EFD_CLOEXEC);
        add(epfd, own, EPOLLIN | EPOLLPRI); /* HERE */
        must(write(go[1], "x", 1) == 1, "the master");
        // The master has not written to this process's socket, and yet there is an event.
        int count = epoll_wait(epfd, &event, 1, -1);
        must(count == 1 && event.data.fd == own, "the master's event");
        exit(0);
    }
    char byte;
    must(read(go[0], &byte, 1) == 1, "the worker");
    int own = eventfd(1, EFD_CLOEXEC);
    add(epfd, own, EPOLLIN | EPOLLPRI);
    int status;
    must(waitpid(child, &status, 0) == child && status == 0, "the worker");
    must(epoll_wait(epfd, &event, 1, -1) == 1, "epoll_wait");
    return found(epfd, -1);
}
