/* A fixed sequence of calls. Each prints its result, its errno, how often a handler has run by
 * then, and which descriptors are open afterwards. This is the same whether strace or epollshim
 * injects the faults. How long each call took goes to descriptor 2. */
#include "check.h"

#include <linux/close_range.h>

static volatile sig_atomic_t handled;
static struct epoll_event got[8];

static void on_signal(int number) {
    (void)number;
    handled++;
}

/* By poll(2), which no rule affects. */
static void say_what_is_open(void) {
    struct pollfd {
        int fd;
        short events, revents;
    } numbers[48];
    char list[256] = "";
    size_t length = 0;
    for (int fd = 0; fd < 48; fd++) numbers[fd] = (struct pollfd){fd, 0, 0};
    syscall(SYS_poll, numbers, 48, 0);
    for (int fd = 0; fd < 48; fd++) {
        if ((numbers[fd].revents & 0x20) == 0) length += (size_t)snprintf(list + length, sizeof list - length, " %d", fd);
    }
    say("; open%s\n", list);
}

static void tell(const char *call, long result, int error, int64_t began, int is_wait) {
    char line[64];
    int64_t took = now_ns() - began;
    const char *name = error == SENTINEL ? "kept" : strerrorname_np(error);
    say("%s = %ld, errno ", call, result);
    if (name != NULL) say("%s", name);
    else say("%d", error);
    if (is_wait) {
        /* Including the untouched part of the buffer. */
        uint64_t sum = 0;
        for (size_t i = 0; i < sizeof got; i++) sum = sum * 31 + ((unsigned char *)got)[i];
        for (long i = 0; i < result && i < 8; i++) say(" {%x %llu}", got[i].events, (unsigned long long)got[i].data.u64);
        say(" buffer %llx", (unsigned long long)sum);
    }
    say("; handled %d", (int)handled);
    say_what_is_open();
    int length = snprintf(line, sizeof line, "%lld %.40s\n", (long long)took, call);
    if (write(2, line, (size_t)length) != length) _exit(9);
}

#define CALL(call)                                  \
    ({                                              \
        errno = SENTINEL;                           \
        int64_t began_ = now_ns();                  \
        long result_ = (long)(call);                \
        tell(#call, result_, errno, began_, 0);     \
        (int)result_;                               \
    })
#define WAIT(call)                                  \
    ({                                              \
        memset(got, 0x5a, sizeof got);              \
        errno = SENTINEL;                           \
        int64_t began_ = now_ns();                  \
        long result_ = (long)(call);                \
        tell(#call, result_, errno, began_, 1);     \
    })

int main(void) {
    sigset_t usr1, none;
    sigemptyset(&none);
    sigemptyset(&usr1);
    sigaddset(&usr1, SIGUSR1);
    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGUSR1, &action, NULL);
    action.sa_flags = SA_RESTART;
    sigaction(SIGHUP, &action, NULL);
    sigaction(SIGRTMIN + 2, &action, NULL);
    signal(SIGUSR2, SIG_IGN);

    int a = eventfd(1, 0), b = eventfd(1, 0), c = eventfd(1, 0), idle = eventfd(0, 0);
    struct epoll_event in = interest(EPOLLIN, 101), out = interest(EPOLLIN | EPOLLOUT, 202);
    say("begin\n");

    int first = CALL(epoll_create(1));
    CALL(epoll_create(0));
    int second = CALL(epoll_create1(EPOLL_CLOEXEC));
    int third = CALL(syscall(SYS_epoll_create1, 0));
    CALL(epoll_create1(12345));
    int fourth = CALL(epoll_create1(0));

    CALL(epoll_ctl(second, EPOLL_CTL_ADD, a, &in));
    CALL(epoll_ctl(second, EPOLL_CTL_ADD, b, &out));
    CALL(syscall(SYS_epoll_ctl, second, EPOLL_CTL_ADD, c, &in));
    CALL(epoll_ctl(second, EPOLL_CTL_ADD, c, &in));
    CALL(epoll_ctl(third, EPOLL_CTL_ADD, idle, &in));
    CALL(epoll_ctl(second, EPOLL_CTL_MOD, a, &out));

    WAIT(epoll_wait(second, got, 8, 0));
    WAIT(epoll_wait(second, got, 8, 90));
    WAIT(epoll_wait(second, got, 1, 0));
    WAIT(epoll_wait(third, got, 8, 10));
    WAIT(epoll_wait(third, got, 8, 0));
    WAIT(epoll_wait(second, got, 0, 0));
    WAIT(syscall(SYS_epoll_wait, second, got, 8, 0));
    WAIT(syscall(SYS_epoll_wait, third, got, 8, 10));
    WAIT(epoll_wait(-1, got, 8, 0));
    WAIT(epoll_wait(second, got, 2, 0));

    WAIT(epoll_pwait(second, got, 8, 0, NULL));
    WAIT(epoll_pwait(third, got, 8, 10, NULL));
    WAIT(epoll_pwait(third, got, 8, 10, &usr1));
    WAIT(epoll_pwait(third, got, 8, 10, &none));
    WAIT(syscall(SYS_epoll_pwait, third, got, 8, 10, NULL, 0));
    WAIT(syscall(SYS_epoll_pwait, third, got, 8, 10, NULL, sizeof(long)));
    WAIT(syscall(SYS_epoll_pwait, third, got, 8, 10, &usr1, sizeof(long)));
    WAIT(syscall(SYS_epoll_pwait, second, got, 8, 10, &none, sizeof(long)));

    static const struct timespec no_time, some_time = {0, 10000000};
    WAIT(epoll_pwait2(second, got, 8, &no_time, NULL));
    WAIT(epoll_pwait2(third, got, 8, &some_time, NULL));
    WAIT(epoll_pwait2(third, got, 8, &some_time, &usr1));
    WAIT(epoll_pwait2(second, got, 1, &some_time, &none));
    WAIT(syscall(SYS_epoll_pwait2, third, got, 8, &some_time, NULL, 0));
    WAIT(syscall(SYS_epoll_pwait2, second, got, 8, &some_time, &none, sizeof(long)));

    CALL(epoll_ctl(second, EPOLL_CTL_DEL, b, NULL));
    CALL(epoll_ctl(second, EPOLL_CTL_DEL, b, NULL));
    WAIT(epoll_wait(second, got, 8, 0));

    int copy = CALL(dup(a));
    CALL(dup(second));
    CALL(dup(-1));
    CALL(syscall(SYS_dup, idle));
    CALL(dup2(a, 30));
    CALL(dup2(second, 31));
    CALL(dup2(a, a));
    CALL(dup2(-1, 32));
    CALL(dup3(a, 33, O_CLOEXEC));
    CALL(dup3(a, a, 0));
    CALL(syscall(SYS_dup3, third, 34, 0));
    CALL(fcntl(a, F_GETFD));
    CALL(fcntl(a, F_SETFD, FD_CLOEXEC));
    CALL(fcntl(a, F_GETFD));
    CALL(fcntl(second, F_DUPFD, 40));
    CALL(fcntl(a, F_DUPFD_CLOEXEC, 41));
    CALL(syscall(SYS_fcntl, a, F_GETFL, 0) & O_ACCMODE);

    CALL(close_range(41, 47, CLOSE_RANGE_CLOEXEC));
    CALL(close_range(41, 40, 0));
    CALL(close_range(41, 47, 0));
    CALL(syscall(SYS_close_range, 40, 47, 0));

    CALL(close(copy));
    CALL(close(31));
    CALL(close(31));
    CALL(syscall(SYS_close, 33));
    CALL(close(first));
    CALL(close(fourth));
    WAIT(epoll_wait(second, got, 8, 0));
    CALL(close(second));
    WAIT(epoll_wait(second, got, 8, 0));
    return 5;
}
