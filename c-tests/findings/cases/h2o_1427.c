// h2o #1427 (crashes on OCSP updates): the updater's threads fork a process that fetches the
// response. It has copies of all connections for as long as it lives. A connection that the server
// closed meanwhile stayed in the interest list. Its next event carried the address of a socket that
// was freed, and the server died of signal 11.
#include "../finding.h"
#include <sys/socket.h>

int main(void)
{
    int epfd = epoll_create1(EPOLL_CLOEXEC), connection[2], updater[2];
    must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, connection) == 0, "socketpair");
    must(pipe2(updater, O_CLOEXEC) == 0, "pipe2");
    add(epfd, connection[0], EPOLLIN | EPOLLRDHUP);
    pid_t child = fork();
    if (child == 0) {
        // Fetches, and writes its answer, until its parent ends it.
        char byte;
        close(updater[1]);
        _exit(read(updater[0], &byte, 1) != 0);
    }
    close(updater[0]);
    close(connection[0]); /* HERE */
    must(write(connection[1], "GET", 3) == 3, "the peer");
    struct epoll_event event;
    for (int i = 0; i < 3; i++)
        must(epoll_wait(epfd, &event, 1, -1) == 1 && event.data.fd == connection[0], "an event for what is closed");
    // The report is written while the updater is still running.
    return found(epfd, connection[0]);
}
