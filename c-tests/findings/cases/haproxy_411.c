// haproxy #411 (100 % CPU with 0-RTT): the TLS layer left EPOLLOUT armed on connections with nothing to write, some of them broken
// already. Each turn of the loop got the same handful of EPOLLOUT and EPOLLERR, did nothing about them, and asked again.
#include "../finding.h"
#include <sys/socket.h>

int main(void)
{
    int epfd = epoll_create1(EPOLL_CLOEXEC), pairs[7][2];
    for (int i = 0; i < 7; i++) {
        must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pairs[i]) == 0, "socketpair");
        add(epfd, pairs[i][0], EPOLLIN | EPOLLOUT | EPOLLRDHUP);
    }
    close(pairs[0][1]);
    struct epoll_event events[200];
    for (int i = 0; i < 100000; i++)
        must(epoll_wait(epfd, events, 200, 10) == 7, "epoll_wait"); /* HERE */
    return found(epfd, -1);
}
