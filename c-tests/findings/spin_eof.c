// A connection whose peer has closed its end stays watched: it stays readable, and each read
// returns 0 (netty #4082). With -DFIXED it is closed.
#include "tcp.h"
#include "burns.h"

int main(void)
{
    int epfd = epoll_create1(EPOLL_CLOEXEC), listener = listens(0, 16);
    int client = connects();
    int connection = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    add(epfd, connection, EPOLLIN | EPOLLRDHUP);
    close(client);
    struct epoll_event events[8];
    for (struct since since = begin(); goes_on(&since, 600);) {
        if (epoll_wait(epfd, events, 8, 50) != 1) /* HERE */
            continue;
        char byte;
        must(read(events[0].data.fd, &byte, 1) == 0, "the end");
#ifdef FIXED
        close(events[0].data.fd);
#endif
    }
    return found(epfd, connection);
}
