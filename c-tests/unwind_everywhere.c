/* At every single instruction of a hook an unwinder must find the caller: pthread_exit in a signal
 * handler, a profiler or a debugger may start at any of them. Steps through each call by the
 * processor's trap flag. */
#include "check.h"

#include <unwind.h>

#if defined(__x86_64__)
#include <ucontext.h>

static int epfd, fd, other;
static volatile int steps, lost_way;
static struct epoll_event event;

void stepped(void (*call)(void));

static _Unwind_Reason_Code look(struct _Unwind_Context *context, void *found) {
    if ((void *)_Unwind_GetRegionStart(context) != (void *)stepped) return _URC_NO_REASON;
    *(int *)found = 1;
    return _URC_END_OF_STACK;
}

static void on_trap(int number, siginfo_t *info, void *context) {
    int found = 0, kept = errno;
    (void)number, (void)info, (void)context;
    _Unwind_Backtrace(look, &found);
    steps++;
    if (!found) lost_way++;
    errno = kept;
}

__attribute__((noinline)) void stepped(void (*call)(void)) {
    __asm__ volatile("pushfq; orq $0x100, (%%rsp); popfq" ::: "memory", "cc");
    call();
    __asm__ volatile("pushfq; andq $~0x100, (%%rsp); popfq" ::: "memory", "cc");
}

static void add_it(void) { epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &event); }
static void add_again(void) { epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &event); }
static void modify(void) { epoll_ctl(epfd, EPOLL_CTL_MOD, fd, &event); }
static void delete_it(void) { epoll_ctl(epfd, EPOLL_CTL_DEL, fd, &event); }
static void delete_again(void) { epoll_ctl(epfd, EPOLL_CTL_DEL, fd, &event); }
static void wait_now(void) { epoll_wait(epfd, &event, 1, 0); }
static void wait_a_bit(void) { epoll_wait(epfd, &event, 1, 1); }
static void wait_on_bad(void) { epoll_wait(-1, &event, 1, 1); }
static void pwait_now(void) { epoll_pwait(epfd, &event, 1, 1, NULL); }
static void pwait2_now(void) { epoll_pwait2(epfd, &event, 1, &(struct timespec){0, 1}, NULL); }
static void create(void) { other = epoll_create(1); }
static void create1(void) { other = epoll_create1(EPOLL_CLOEXEC); }
static void create_none(void) { epoll_create(0); }
static void close_it(void) { close(other); }
static void close_bad(void) { close(-1); }
static void close_alias(void) {
    extern int __close(int);
    __close(-1);
}
static void duplicate(void) { other = dup(epfd); }
static void duplicate_onto(void) { dup2(fd, other); }
static void duplicate_bad(void) { dup3(fd, fd, 0); }
static void duplicate_fcntl(void) { other = fcntl(fd, F_DUPFD_CLOEXEC, 50); }
static void flags(void) { fcntl(fd, F_SETFD, 0); }
static void lock(void) { fcntl(fd, F_SETLK, &(struct flock){.l_type = F_WRLCK}); }
static void range(void) { close_range((unsigned)other, (unsigned)other, 0); }
static void all_from(void) { closefrom(900); }
static void raw_close(void) { syscall(SYS_close, other); }
static void raw_add(void) { syscall(SYS_epoll_ctl, epfd, EPOLL_CTL_ADD, fd, &event); }
static void raw_wait(void) { syscall(SYS_epoll_pwait, epfd, &event, 1, 0, NULL, 8); }
static void raw_other(void) { syscall(SYS_mmap, NULL, 0L, 0L, 0L, -1L, 0L); }

int main(void) {
    static const struct {
        const char *name;
        void (*call)(void);
    } calls[] = {{"ADD", add_it}, {"ADD: EEXIST", add_again}, {"MOD", modify}, {"epoll_wait", wait_now},
                 {"epoll_wait, timed", wait_a_bit}, {"epoll_wait: EBADF", wait_on_bad}, {"epoll_pwait", pwait_now},
                 {"epoll_pwait2", pwait2_now}, {"DEL", delete_it}, {"DEL: ENOENT", delete_again},
                 {"epoll_create", create}, {"close", close_it}, {"epoll_create1", create1}, {"raw close", raw_close},
                 {"epoll_create: EINVAL", create_none}, {"close: EBADF", close_bad}, {"__close", close_alias},
                 {"dup", duplicate}, {"dup2", duplicate_onto}, {"dup3: EINVAL", duplicate_bad}, {"close_range", range},
                 {"F_DUPFD", duplicate_fcntl}, {"close", close_it}, {"F_SETFD", flags}, {"F_SETLK", lock},
                 {"closefrom", all_from}, {"raw ADD", raw_add}, {"raw epoll_pwait", raw_wait},
                 {"raw mmap", raw_other}, {"DEL", delete_it}};
    struct sigaction action = {.sa_sigaction = on_trap, .sa_flags = SA_SIGINFO};
    struct sigaction off = {.sa_handler = SIG_DFL};
    epfd = epoll_create1(0);
    fd = eventfd(1, 0);
    event = interest(EPOLLIN, 1);
    for (int round = 0; round < 2; round++) {
        /* In the first round the loader binds names. That is its own code, which is not checked. */
        for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
            if (round == 0) {
                calls[i].call();
                continue;
            }
            steps = lost_way = 0;
            sigaction(SIGTRAP, &action, NULL);
            stepped(calls[i].call);
            sigaction(SIGTRAP, &off, NULL);
            say("     %s\n", calls[i].name);
            CHECK(steps > 10);
            EQUAL(lost_way, 0);
        }
    }
    LEDGER_KNOWS();
    return verdict();
}
#else
int main(void) { return verdict(); }
#endif
