/* The same calls from a library (fault_caller_library.c) and from the program: prints which
 * succeed. */
#include "check.h"
#include "fault_caller_calls.h"

#include <link.h>

extern int library_calls(int epfd, int fd, int which);

int main(void) {
    struct epoll_event event = {.events = EPOLLIN};
    int epfd = -1, fd = eventfd(0, 0);
    /* By system call, which no armed rule affects. */
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
    for (int which = 0; which < 10; which++) say("%d", calls_of_this_object(epfd, fd, which));
    say("\n");
    return 0;
}
