/* Makes its epoll calls by instructions of its own, as smol does by rustix. */
#include <sys/epoll.h>
#include <sys/syscall.h>

static long call(long number, long a, long b, long c, long d) {
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = 0;
    register long r9 __asm__("r9") = 8;
    long result;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}

int main(void) {
    struct epoll_event event = {.events = EPOLLIN};
    int loop = (int)call(SYS_epoll_create1, EPOLL_CLOEXEC, 0, 0, 0);
    call(SYS_epoll_ctl, loop, EPOLL_CTL_ADD, 0, (long)&event);
    return call(SYS_epoll_pwait, loop, (long)&event, 1, 0) < 0;
}
