// A datagram was sent to a port that has no listener: the error that came back is pending, EPOLLERR
// arrives in each round, and the program never reads the error. With -DSIX: over IPv6. With -DFIXED
// the error is read, and another datagram is sent, at full speed.
#include "burns.h"
#include <arpa/inet.h>

#ifdef SIX
static int to_nobody(void)
{
    struct sockaddr_in6 address = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    int taken = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0), fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
#else
static int to_nobody(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int taken = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
#endif
    // A port that is free again: no other program takes it at once.
    socklen_t length = sizeof address;
    must(bind(taken, (struct sockaddr *)&address, length) == 0, "bind");
    must(getsockname(taken, (struct sockaddr *)&address, &length) == 0, "getsockname");
    must(connect(fd, (struct sockaddr *)&address, length) == 0, "connect");
    close(taken);
    return fd;
}

int main(void)
{
    int epfd = epoll_create1(EPOLL_CLOEXEC), fd = to_nobody();
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    must(epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &event) == 0, "EPOLL_CTL_ADD"); /* ADDED */
    must(send(fd, "x", 1, 0) == 1, "send");
    struct since since = begin();
    struct epoll_event events[8];
    while (goes_on(&since, 600)) {
        int n = epoll_wait(epfd, events, 8, 50); /* HERE */
#ifdef FIXED
        int error = 0;
        socklen_t length = sizeof error;
        must(n == 1 && getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) == 0, "getsockopt");
        must(error == ECONNREFUSED && send(fd, "x", 1, 0) == 1, "send");
#else
        (void)n;
#endif
    }
    return found(epfd, fd);
}
