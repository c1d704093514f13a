// Makes epoll_wait by an instruction of its own; the instance by libc, but for -DALL.
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

static long call(long number, long a, long b, long c, long d) {
    register long r10 __asm__("r10") = d;
    long result;
    __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10) : "rcx", "r11", "memory");
    return result;
}

int main(void) {
    struct epoll_event event;
#ifdef ALL
    int epfd = (int)call(SYS_epoll_create1, 0, 0, 0, 0);
#else
    int epfd = epoll_create1(0);
#endif
    return call(SYS_epoll_wait, epfd, (long)&event, 1, 0) == 0 ? 0 : 1;
}
