/* An instance that the library did not see being created (by the bare instruction, past libc): what
 * is added to it through libc is known at once, and not only when the ledger is compared with the
 * kernel. */
#include "check.h"

static int create_past_libc(void) {
    long result;
    __asm__ volatile("syscall" : "=a"(result) : "a"((long)SYS_epoll_create1), "D"((long)EPOLL_CLOEXEC) : "rcx", "r11", "memory");
    return (int)result;
}

int main(void) {
    struct epoll_event event = {.events = EPOLLIN};
    int first = epoll_create1(EPOLL_CLOEXEC), second = create_past_libc();
    int a = eventfd(0, EFD_CLOEXEC), b = eventfd(0, EFD_CLOEXEC);
    /* So that the library already knows the thread. */
    GIVES(epoll_ctl(first, EPOLL_CTL_ADD, a, &event), 0);
    GIVES(epoll_ctl(second, EPOLL_CTL_ADD, a, &event), 0);
    GIVES(epoll_ctl(second, EPOLL_CTL_ADD, b, &event), 0);
    GIVES(epoll_ctl(second, EPOLL_CTL_DEL, a, NULL), 0);
    GIVES(epoll_wait(second, &event, 1, 0), 0);
    return checks_failed;
}
