/* A sandbox (seccomp) that refuses, with EPERM, every system call that this program does not make
 * itself: epoll and the end of the process work as they do without the library. */
#include "check.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>

static const int allowed[] = {SYS_read,        SYS_write,       SYS_close,       SYS_dup,          SYS_dup3,
                              SYS_fcntl,       SYS_eventfd2,    SYS_exit_group,  SYS_rt_sigreturn, SYS_epoll_create1,
                              SYS_epoll_ctl,   SYS_epoll_pwait, SYS_close_range,
#ifdef SYS_epoll_wait
                              SYS_epoll_wait,
#endif
#ifdef SYS_epoll_create
                              SYS_epoll_create,
#endif
#ifdef SYS_dup2
                              SYS_dup2,
#endif
#ifdef SYS_epoll_pwait2
                              SYS_epoll_pwait2,
#endif
};
#define ALLOWED (sizeof allowed / sizeof *allowed)

static void enter_sandbox(void) {
    struct sock_filter filter[2 * ALLOWED + 2];
    unsigned short length = 0;
    filter[length++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    for (size_t i = 0; i < ALLOWED; i++) {
        filter[length++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)allowed[i], 0, 1);
        filter[length++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    }
    filter[length++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM);
    struct sock_fprog program = {length, filter};
    CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
}

static void work(void) {
    int epfd = WORKS(epoll_create1(EPOLL_CLOEXEC)), old = WORKS(epoll_create(5)), fd = WORKS(eventfd(1, 0));
    int copy = WORKS(dup(fd)), twin = WORKS(fcntl(epfd, F_DUPFD_CLOEXEC, 20));
    struct timespec zero = {0, 0};
    struct epoll_event got;
    GIVES(add(epfd, fd, EPOLLIN), 0);
    FAILS(add(twin, fd, EPOLLIN), EEXIST);
    GIVES(add(old, copy, EPOLLIN), 0);
    GIVES(add(old, epfd, EPOLLIN), 0);
    GIVES(events_of(epfd, 1), EPOLLIN);
    GIVES(epoll_pwait(twin, &got, 1, 1, NULL), 1);
    GIVES(epoll_pwait2(twin, &got, 1, &zero, NULL), 1);
    GIVES(dup2(old, epfd), epfd);
    GIVES(close(fd), 0);
    GIVES(events_of(twin, 1), EPOLLIN);
    GIVES(syscall(SYS_close, copy), 0);
    GIVES(events_of(twin, 1), 0);
    GIVES(close_range((unsigned)epfd, (unsigned)epfd + 30, 0), 0);
    FAILS(close(old), EBADF);
    FAILS(epoll_wait(twin, &got, 1, 1), EBADF);
}

int main(int count, char **arguments) {
    /* `first`: the sandbox exists before the first epoll call. */
    if (count < 2 || strcmp(arguments[1], "first") != 0) work();
    enter_sandbox();
    FAILS(syscall(SYS_getppid), EPERM);
    work();
    work();
    return verdict();
}
