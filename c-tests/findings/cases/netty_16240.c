// netty #16240 (a registered channel creates a busy loop): a server's socket was added to epoll
// when it was created, before it was bound. A socket that is not connected and does not listen has
// EPOLLHUP all the time, and the event loop spun until the socket was bound.
#include "../burns.h"
#include <netinet/in.h>
#include <sys/socket.h>

int main(void)
{
    int epfd = epoll_create1(EPOLL_CLOEXEC), server = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int wakeup = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    add(epfd, wakeup, EPOLLIN | EPOLLET);
    add(epfd, server, 0);
    struct epoll_event events[64];
    for (struct since since = begin(); goes_on(&since, 600);) {
        must(epoll_wait(epfd, events, 64, 1000) == 1, "epoll_wait"); /* HERE */
        must(events[0].events == EPOLLHUP, "EPOLLHUP");
    }
    return found(epfd, server);
}
