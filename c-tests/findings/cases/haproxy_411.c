// haproxy #411 (100 % CPU with 0-RTT): the TLS layer left EPOLLOUT armed on connections with nothing to write, some of them closed by the
// client already. Each turn of the loop got the same handful of events, did nothing about them, and asked again.
#include "../finding.h"
#include "../clock.h"
#include <arpa/inet.h>

int main(void)
{
    int epfd = epoll_create1(EPOLL_CLOEXEC), listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), clients[7];
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    must(bind(listener, (struct sockaddr *)&address, length) == 0 && listen(listener, 16) == 0, "listen");
    getsockname(listener, (struct sockaddr *)&address, &length);
    for (int i = 0; i < 7; i++) {
        clients[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        must(connect(clients[i], (struct sockaddr *)&address, length) == 0, "connect");
        add(epfd, accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK), EPOLLIN | EPOLLOUT | EPOLLRDHUP);
    }
    close(clients[0]);
    struct epoll_event events[200];
    for (struct since since = begin(); runs(&since, 600);)
        must(epoll_wait(epfd, events, 200, 10) == 7, "epoll_wait"); /* HERE */
    return found(epfd, -1);
}
