// A connection whose peer has sent its end is watched on: it is readable for ever, and each read returns 0 (netty #4082).
// With -DMENDED: it is closed.
#include "finding.h"
#include "clock.h"
#include <arpa/inet.h>

int main(void)
{
    int epfd = epoll_create1(EPOLL_CLOEXEC), listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    must(bind(listener, (struct sockaddr *)&address, length) == 0 && listen(listener, 16) == 0, "listen");
    getsockname(listener, (struct sockaddr *)&address, &length);
    int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    must(connect(client, (struct sockaddr *)&address, length) == 0, "connect");
    int connection = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    add(epfd, connection, EPOLLIN | EPOLLRDHUP);
    close(client);
    struct epoll_event events[8];
    for (struct since since = begin(); runs(&since, 600);) {
        if (epoll_wait(epfd, events, 8, 50) != 1) /* HERE */
            continue;
        char byte;
        must(read(events[0].data.fd, &byte, 1) == 0, "the end");
#ifdef MENDED
        close(events[0].data.fd);
#endif
    }
    return found(epfd, connection);
}
