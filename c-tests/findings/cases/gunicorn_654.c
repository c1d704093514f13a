// gunicorn #654 (reinit the hub with old gevent): libevent's base was created when gevent was
// imported, before the arbiter forked. The first worker registers the listening socket in the epoll
// instance that all share. Every other worker fails at that with EEXIST, dies, and is started
// again, forever.
#include "../finding.h"
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/wait.h>

int main(void)
{
    int epfd = epoll_create1(EPOLL_CLOEXEC), listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), turn[2], done[2];
    must(listen(listener, 16) == 0 && pipe2(turn, O_CLOEXEC) == 0 && pipe2(done, O_CLOEXEC) == 0, "listen");
    pid_t first = fork();
    if (first == 0) {
        add(epfd, listener, EPOLLIN); /* HERE */
        must(write(turn[1], "x", 1) == 1, "the second worker");
        char byte;
        must(read(done[0], &byte, 1) == 1, "the second worker's end");
        exit(0);
    }
    pid_t second = fork();
    if (second == 0) {
        char byte;
        struct epoll_event event = {.events = EPOLLIN, .data.fd = listener};
        must(read(turn[0], &byte, 1) == 1, "the first worker");
        must(epoll_ctl(epfd, EPOLL_CTL_ADD, listener, &event) == -1 && errno == EEXIST, "EEXIST");
        exit(0);
    }
    int status;
    must(waitpid(second, &status, 0) == second && status == 0, "the second worker");
    must(write(done[1], "x", 1) == 1 && waitpid(first, &status, 0) == first && status == 0, "the first worker");
    return found(epfd, -1);
}
