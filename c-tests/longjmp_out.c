/* A handler that leaves by siglongjmp, out of whatever epoll call it interrupted (a classic
 * timeout). The program continues as if nothing had happened, and so must the ledger. This also
 * holds if the program continues in a function that lies deeper on the stack than the call that was
 * left, where a handler's calls would lie; and if it always blocks some signal, when a frame of a
 * handler that was left must not be taken for that of one that runs. */
#include "check.h"

#include <alloca.h>
#include <setjmp.h>
#include <sys/time.h>

#define JUMPS 190
#define ROUNDS 16

static sigjmp_buf back;
static volatile sig_atomic_t armed, jumps;
static int epfd;

static void on_signal(int number) {
    (void)number;
    if (!armed) return;
    armed = 0;
    jumps++;
    siglongjmp(back, 1);
}

static void work(void) {
    struct epoll_event event = interest(EPOLLIN, 1);
    int own = epoll_create1(EPOLL_CLOEXEC), fd = eventfd(1, EFD_CLOEXEC), copy = dup(fd), twin = dup(own);
    epoll_ctl(own, EPOLL_CTL_ADD, fd, &event);
    epoll_ctl(twin, EPOLL_CTL_ADD, copy, &event);
    epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &event);
    epoll_wait(own, &event, 1, 0);
    epoll_ctl(own, EPOLL_CTL_DEL, fd, NULL);
    close(own);
    close(fd);
    syscall(SYS_close, copy);
    dup2(epfd, twin);
    epoll_wait(twin, &event, 1, 1);
    close(twin);
}

static void jump_out_of_calls(void) {
    struct itimerval tick = {{0, 211}, {0, 211}}, off = {{0, 0}, {0, 0}};
    jumps = 0;
    setitimer(ITIMER_REAL, &tick, NULL);
    while (jumps < JUMPS) {
        if (sigsetjmp(back, 1) == 0) {
            armed = 1;
            for (;;) work();
        }
        /* What the jump left open. */
        close_range((unsigned)epfd + 1, ~0u, 0);
    }
    setitimer(ITIMER_REAL, &off, NULL);
}

/* By the bare instruction, which the library does not see. */
static void close_past_libc(int fd) {
#ifdef __x86_64__
    long result;
    __asm__ volatile("syscall" : "=a"(result) : "a"((long)SYS_close), "D"((long)fd) : "rcx", "r11", "memory");
#else
    close(fd);
#endif
}

static void go_on(void) {
    EQUAL(close_range((unsigned)epfd + 1, ~0u, 0), 0);
    GIVES(events_of(epfd, 0), 0);
    LEDGER_AGREES();
    /* The comparison with the kernel corrects the ledger, as no handler runs. */
    int unseen = WORKS(eventfd(1, 0));
    GIVES(add(epfd, unseen, EPOLLIN), 0);
    close_past_libc(unseen);
    LEDGER_AGREES();
    /* Nothing is stuck: what follows is tracked as before. */
    int fd = WORKS(eventfd(1, 0)), second = WORKS(epoll_create1(0));
    GIVES(add(epfd, fd, EPOLLIN), 0);
    GIVES(add(second, fd, EPOLLIN), 0);
    LEDGER_AGREES();
    GIVES(close(epfd), 0);
    LEDGER_AGREES();
    GIVES(close(fd), 0);
    GIVES(close(second), 0);
    LEDGER_AGREES();
}

static __attribute__((noinline)) void go_on_deeper(size_t bytes) {
    volatile char *room = alloca(bytes);
    room[0] = 1;
    go_on();
    room[bytes - 1] = 1;
}

int main(void) {
    static const size_t depths[] = {0, 1200, 6000, 40000};
    struct sigaction action = {.sa_handler = on_signal};
    sigset_t other;
    sigemptyset(&other);
    sigaddset(&other, SIGWINCH);
    alarm(0);
    sigprocmask(SIG_BLOCK, &other, NULL);
    sigaction(SIGALRM, &action, NULL);
    for (size_t i = 0; i < ROUNDS; i++) {
        size_t depth = depths[i % (sizeof depths / sizeof *depths)];
        if (i == ROUNDS / 2) sigprocmask(SIG_UNBLOCK, &other, NULL);
        epfd = WORKS(epoll_create1(0));
        work();
        jump_out_of_calls();
        if (depth == 0) go_on();
        else go_on_deeper(depth);
    }
    return verdict();
}
