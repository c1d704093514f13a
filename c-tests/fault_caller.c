/* The same calls from a library (fault_caller_library.c) and from the program: prints which succeed. */
#include "check.h"

#include <link.h>

extern int library_calls(int epfd, int fd, int which);

static int own_calls(int epfd, int fd, int which) {
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

int main(void) {
    struct epoll_event event = {.events = EPOLLIN};
    int epfd = -1, fd = eventfd(0, 0);
    /* By system call, round whatever is armed. */
    __asm__ volatile("syscall" : "=a"(epfd) : "a"(SYS_epoll_create1), "D"(0L) : "rcx", "r11", "memory");
    long added;
    register void *change __asm__("r10") = &event;
    __asm__ volatile("syscall"
                     : "=a"(added)
                     : "a"(SYS_epoll_ctl), "D"((long)epfd), "S"((long)EPOLL_CTL_ADD), "d"((long)fd), "r"(change)
                     : "rcx", "r11", "memory");
    say("library ");
    for (int which = 0; which < 10; which++) say("%d", library_calls(epfd, fd, which));
    say(" program ");
    for (int which = 0; which < 10; which++) say("%d", own_calls(epfd, fd, which));
    say("\n");
    return 0;
}
