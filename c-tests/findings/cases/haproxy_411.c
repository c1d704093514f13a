// haproxy #411 (100 % CPU with 0-RTT): the TLS layer left EPOLLOUT armed on connections with
// nothing to write, some of which the client had already closed. Each round of the loop got the
// same few events, did nothing about them, and polled again.
#include "../tcp.h"
#include "../burns.h"

int main(void)
{
    int epfd = epoll_create1(EPOLL_CLOEXEC), listener = listens(0, 16), clients[7];
    for (int i = 0; i < 7; i++) {
        clients[i] = connects();
        add(epfd, accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK), EPOLLIN | EPOLLOUT | EPOLLRDHUP);
    }
    close(clients[0]);
    struct epoll_event events[200];
    for (struct since since = begin(); goes_on(&since, 600);)
        must(epoll_wait(epfd, events, 200, 10) == 7, "epoll_wait"); /* HERE */
    return found(epfd, -1);
}
