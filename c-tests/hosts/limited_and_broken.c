/* What a program sees of limits and of faults, on any host: it prints how each call ends. Natively
 * all succeed; with instances=1,watches=2 and a fault of the first wait one call of each kind
 * fails. Two sockets stay open at the end. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

static void print(const char *call, int result) {
    printf("%s: %s\n", call, result < 0 ? strerror(errno) : "succeeds");
}

int main(void) {
    struct epoll_event event = {.events = EPOLLIN}, out[4];
    int epfd = epoll_create1(0);
    print("the first instance", epfd);
    print("the second instance", epoll_create1(0));
    for (int i = 0; i < 3; i++) print("an interest", epoll_ctl(epfd, EPOLL_CTL_ADD, eventfd(1, 0), &event));
    print("the first wait", epoll_wait(epfd, out, 4, -1));
    print("the second wait", epoll_wait(epfd, out, 4, -1));
    print("a socket", socket(AF_UNIX, SOCK_STREAM, 0));
    print("a socket", socket(AF_UNIX, SOCK_STREAM, 0));
    return 0;
}
