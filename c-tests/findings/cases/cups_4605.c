// cups #4605 (busy loop when epoll is in use): while cupsd decides what to do with a request, it
// needs no events of the connection, and sets its mask to 0. But EPOLLHUP is reported whether it is
// requested or not: a client that disconnects at that moment makes the server spin.
#include "../burns.h"
#include <sys/socket.h>

int main(void)
{
    int epfd = epoll_create1(EPOLL_CLOEXEC), client[2];
    must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, client) == 0, "socketpair");
    add(epfd, client[0], EPOLLIN);
    struct epoll_event event = {.events = 0, .data.fd = client[0]};
    must(epoll_ctl(epfd, EPOLL_CTL_MOD, client[0], &event) == 0, "EPOLL_CTL_MOD");
    close(client[1]);
    for (struct since since = begin(); goes_on(&since, 600);)
        must(epoll_wait(epfd, &event, 1, 1000) == 1 && event.events == EPOLLHUP, "epoll_wait"); /* HERE */
    return found(epfd, client[0]);
}
