/* What the programs of this folder share: a pair of connected sockets, and their event loop's first
 * steps. Each program has one bug on an error path, which its first comment names; whole.c has
 * none. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static int ends[2];

static inline void connect_ends(void) {
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0) {
        perror("socketpair");
        exit(1);
    }
}

static inline int watch(int loop, int descriptor) {
    struct epoll_event event = {.events = EPOLLIN, .data.fd = descriptor};
    return epoll_ctl(loop, EPOLL_CTL_ADD, descriptor, &event);
}

static inline int new_loop(void) {
    int loop = epoll_create1(EPOLL_CLOEXEC);
    if (loop < 0) {
        perror("epoll_create1");
        exit(1);
    }
    return loop;
}

static inline void give(const char *bytes) {
    if (write(ends[1], bytes, strlen(bytes)) < 0) {
        perror("write");
        exit(1);
    }
}

/* One byte, as the loop reports it. */
static inline char take(int loop) {
    struct epoll_event event;
    int number;
    do {
        number = epoll_wait(loop, &event, 1, 5000);
    } while (number < 0 && errno == EINTR);
    char byte = 0;
    if (number != 1 || read(event.data.fd, &byte, 1) != 1) {
        perror("take");
        exit(1);
    }
    return byte;
}
