/* Calls that an object makes itself: each returns 1 if it succeeds, else 0. */
#ifndef FAULT_CALLER_CALLS_H
#define FAULT_CALLER_CALLS_H
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

static int calls_of_this_object(int epfd, int fd, int which) {
    struct epoll_event event = {.events = EPOLLIN};
    switch (which) {
    case 0: return epoll_create1(EPOLL_CLOEXEC) >= 0;
    case 1: return epoll_wait(epfd, &event, 1, 0) >= 0;
    case 2: return epoll_ctl(epfd, EPOLL_CTL_MOD, fd, &event) >= 0;
    case 3: return dup2(fd, 60) >= 0;
    case 4: return close(60) >= 0;
    case 5: return fcntl(fd, F_GETFD) >= 0;
    case 6: return close_range(70, 71, 0) >= 0;
    case 7: return syscall(SYS_epoll_wait, epfd, &event, 1, 0) >= 0;
    case 8: return dup(fd) >= 0;
    default: return epoll_pwait(epfd, &event, 1, 0, NULL) >= 0;
    }
}

#endif
