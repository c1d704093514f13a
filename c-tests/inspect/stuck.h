/* What the programs here share: a connection over loopback, and the line `ready`, which says that
 * nothing will change any more. After it a program does nothing until it is killed, or for as long
 * as a watchdog allows. */
#ifndef STUCK_H
#define STUCK_H
#include "../check.h"

#include <arpa/inet.h>
#include <netinet/in.h>

__attribute__((unused)) static int listening(void) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(fd, (struct sockaddr *)&address, sizeof address) != 0 || listen(fd, 128) != 0) abort();
    return fd;
}

__attribute__((unused)) static int connected(int listener) {
    struct sockaddr_in address;
    socklen_t length = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    getsockname(listener, (struct sockaddr *)&address, &length);
    if (connect(fd, (struct sockaddr *)&address, length) != 0) abort();
    return fd;
}

__attribute__((unused)) static int accepted(int listener) {
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0) abort();
    return fd;
}

__attribute__((unused)) static void is_ready(int fd) {
    say("ready pid %d fd %d\n", (int)getpid(), fd);
}

/* The loop of a program that passes its events to `handle`. */
__attribute__((unused)) static void serve(int epfd, void (*handle)(int epfd, struct epoll_event *event)) {
    for (;;) {
        struct epoll_event event;
        if (epoll_wait(epfd, &event, 1, -1) == 1 && handle != NULL) handle(epfd, &event);
    }
}
#endif
