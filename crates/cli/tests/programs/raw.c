// Makes all of its epoll calls by direct system calls, as rustix and Go's runtime do. Then, by its
// argument:
//   stay    prints a line, and runs until a signal ends it
//   fork    a child that has the instance too ends first
//   exec    becomes /bin/true, which inherits the instance (it has no close-on-exec flag)
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static inline long call(long number, long a, long b, long c, long d) {
    register long r10 __asm__("r10") = d;
    long result;
    __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10) : "rcx", "r11", "memory");
    return result;
}

int main(int count, char **words) {
    const char *mode = count > 1 ? words[1] : "";
    struct epoll_event event = {.events = EPOLLIN};
    int epfd = (int)call(SYS_epoll_create1, strcmp(mode, "exec") ? EPOLL_CLOEXEC : 0, 0, 0, 0);
    if (call(SYS_epoll_ctl, epfd, EPOLL_CTL_ADD, eventfd(1, EFD_CLOEXEC), (long)&event) != 0)
        return 1;
    if (call(SYS_epoll_wait, epfd, (long)&event, 1, 0) != 1)
        return 2;
    if (!strcmp(mode, "exec"))
        return execl("/bin/true", "true", (char *)0);
    if (!strcmp(mode, "fork")) {
        pid_t child = fork();
        if (child == 0)
            return 0;
        waitpid(child, NULL, 0);
    }
    puts("ready");
    fflush(stdout);
    while (!strcmp(mode, "stay"))
        pause();
    return 0;
}
