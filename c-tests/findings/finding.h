// What the programs with a defect and their fixed twins have in common. The line of the call to fix
// ends in the comment HERE, in capitals between slashes and stars.
#ifndef FINDING_H
#define FINDING_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

static inline void must(int holds, const char *what)
{
    if (!holds) {
        fprintf(stderr, "%s: %s\n", what, strerror(errno));
        exit(3);
    }
}

// Adds an interest whose data is the descriptor's number.
static inline void add(int epfd, int fd, unsigned events)
{
    struct epoll_event event = {.events = events, .data.fd = fd};
    must(epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &event) == 0, "EPOLL_CTL_ADD");
}

// A new descriptor with the lowest free number: an eventfd, ready or not.
static inline int event(unsigned value)
{
    int fd = eventfd(value, EFD_CLOEXEC | EFD_NONBLOCK);
    must(fd >= 0, "eventfd");
    return fd;
}

// Waits until the thread is inside a system call of this number.
static inline void await_call(int tid, int number)
{
    char path[64], text[256], wanted[16];
    snprintf(path, sizeof path, "/proc/self/task/%d/syscall", tid);
    int length = snprintf(wanted, sizeof wanted, "%d ", number);
    do {
        usleep(1000);
        FILE *file = fopen(path, "r");
        must(file != NULL, path);
        if (!fgets(text, sizeof text, file))
            text[0] = 0;
        fclose(file);
    } while (strncmp(text, wanted, (size_t)length) != 0);
}

// Prints for the test which descriptors the finding must name (-1: none), and returns main's exit
// status. With STAYS in the environment it then waits to be killed; STAYS=calls: after two calls,
// one second apart.
static inline int found(int epfd, int fd)
{
    const char *stays = getenv("STAYS");
    for (int i = 0; stays && strcmp(stays, "calls") == 0 && i < 2; i++) {
        usleep(1200000);
        close(epoll_create1(EPOLL_CLOEXEC));
    }
    printf("%d %d\n", epfd, fd);
    if (stays) {
        fflush(stdout);
        for (;;)
            pause();
    }
    return 0;
}

#endif
