/* Sandboxes of many kinds. The program itself never violates one, so a call that ends it was made
 * by the library.
 *
 * seccomp WAY: the filters below, by name
 *
 * Each filter is installed when the program has two epoll instances and some descriptors. The
 * program then continues with them, and ends as it would without a filter. */
#include "../check.h"

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <sys/prctl.h>
#ifdef WITH_LIBSECCOMP
#include <seccomp.h>
#endif

#ifndef PR_SET_TSC
#define PR_SET_TSC 26
#define PR_TSC_SIGSEGV 2
#endif

#define NUMBER offsetof(struct seccomp_data, nr)
#define ARGUMENT(n) (offsetof(struct seccomp_data, args) + 8 * (n))

static struct sock_filter rules[128];
static unsigned short length;

static void rule(unsigned short code, unsigned value, unsigned char holds, unsigned char fails) {
    rules[length++] = (struct sock_filter){code, holds, fails, value};
}

static void load_number(void) {
    length = 0;
    rule(BPF_LD | BPF_W | BPF_ABS, NUMBER, 0, 0);
}

static void answer(int number, unsigned action) {
    rule(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)number, 0, 1);
    rule(BPF_RET | BPF_K, action, 0, 0);
}

/* If the bits `mask` of an argument's lower half are `value`: the action. Otherwise the filter
 * continues after it. */
static void answer_argument(int number, unsigned index, unsigned mask, unsigned value, unsigned action) {
    rule(BPF_LD | BPF_W | BPF_ABS, NUMBER, 0, 0);
    rule(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)number, 0, 4);
    rule(BPF_LD | BPF_W | BPF_ABS, ARGUMENT(index), 0, 0);
    rule(BPF_ALU | BPF_AND | BPF_K, mask, 0, 0);
    rule(BPF_JMP | BPF_JEQ | BPF_K, value, 0, 1);
    rule(BPF_RET | BPF_K, action, 0, 0);
    rule(BPF_LD | BPF_W | BPF_ABS, NUMBER, 0, 0);
}

static void otherwise(unsigned action) { rule(BPF_RET | BPF_K, action, 0, 0); }

static void by_prctl(void) {
    struct sock_fprog program = {length, rules};
    CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
}

static void by_seccomp(unsigned flags) {
    struct sock_fprog program = {length, rules};
    CHECK(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program) == 0);
}

static void by_raw_prctl(void) {
    struct sock_fprog program = {length, rules};
    CHECK(syscall(SYS_prctl, PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
}

/* Calls that this program never makes, and a tool might. The last ones are made by the loader, and
 * by fork and pthread_create. */
static const int foreign[] = {SYS_rt_sigpending, SYS_rt_sigtimedwait, SYS_kcmp,        SYS_getdents64, SYS_readlinkat,
                              SYS_flock,         SYS_getppid,         SYS_fallocate,   SYS_pwritev2,   SYS_faccessat,
                              SYS_tgkill,        SYS_sched_yield,     SYS_prlimit64,   SYS_pread64,    SYS_getrandom,
                              SYS_clone};
#define FOREIGN (sizeof foreign / sizeof *foreign)
#define BUT_CLONE (FOREIGN - 2)
#define BUT_THE_LOADER (FOREIGN - 4)

static void foreign_calls(unsigned action, size_t many) {
    load_number();
    for (size_t i = 0; i < many; i++) answer(foreign[i], action);
    otherwise(SECCOMP_RET_ALLOW);
}

static int epfd, old, fd, copy;

static void begin(void) {
    epfd = WORKS(epoll_create1(EPOLL_CLOEXEC));
    old = WORKS(epoll_create(5));
    fd = WORKS(eventfd(1, 0));
    copy = WORKS(dup(fd));
    GIVES(add(epfd, fd, EPOLLIN), 0);
    GIVES(add(old, copy, EPOLLIN), 0);
}

/* Uses what begin() has created, and more of it. */
static void go_on(void) {
    GIVES(events_of(epfd, 1), EPOLLIN);
    int another = WORKS(epoll_create1(0)), twin = WORKS(fcntl(another, F_DUPFD_CLOEXEC, 20));
    GIVES(add(twin, fd, EPOLLIN), 0);
    GIVES(add(another, copy, EPOLLIN), 0);
    FAILS(add(twin, fd, EPOLLIN), EEXIST);
    FAILS(add(twin, 400, EPOLLIN), EBADF);
    GIVES(close(fd), 0);
    GIVES(events_of(old, 1), EPOLLIN);
    GIVES(dup2(old, epfd), epfd);
    GIVES(events_of(twin, 1), EPOLLIN);
    GIVES(close(another), 0);
    GIVES(close(old), 0);
}

static void *in_thread(void *instance) {
    for (int i = 0; i < 50; i++) QUIETLY(events_of(*(int *)instance, 0) == EPOLLIN);
    int own = epoll_create1(0);
    QUIETLY(own >= 0 && add(own, copy, EPOLLIN) == 0 && events_of(own, 10) == EPOLLIN && close(own) == 0);
    return NULL;
}

static volatile int gate;

static void *waits_and_works(void *instance) {
    while (!gate) nap(1);
    return in_thread(instance);
}

static void *sandboxes_itself(void *instance) {
    foreign_calls(SECCOMP_RET_KILL_PROCESS, FOREIGN);
    struct sock_fprog program = {length, rules};
    QUIETLY(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
    return in_thread(instance);
}

static volatile int was_strict;

static void *restricts_itself(void *unused) {
    (void)unused;
    was_strict = prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT, 0, 0, 0) == 0;
    syscall(SYS_exit, 0);
    return NULL;
}

static void with_thread(void *(*work)(void *)) {
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, work, &epfd) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
}

static volatile int traps;

static void on_trap(int signal) {
    (void)signal;
    traps++;
}

static void refused_filters(void) {
    struct sock_filter bad = BPF_STMT(0xffff, 0);
    struct sock_fprog unknown = {1, &bad}, empty = {0, &bad}, nowhere_to = {4, nowhere()};
    FAILS(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, NULL), EFAULT);
    FAILS(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, nowhere()), EFAULT);
    FAILS(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &unknown), EINVAL);
    FAILS(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &empty), EINVAL);
    FAILS(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &nowhere_to), EFAULT);
    FAILS(prctl(PR_SET_SECCOMP, 77, &unknown), EINVAL);
    FAILS(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, NULL), EFAULT);
    FAILS(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &unknown), EINVAL);
    FAILS(syscall(SYS_seccomp, SECCOMP_SET_MODE_STRICT, 1, NULL), EINVAL);
    FAILS(syscall(SYS_seccomp, 99, 0, NULL), EINVAL);
    FAILS(syscall(SYS_prctl, PR_SET_SECCOMP, SECCOMP_MODE_FILTER, NULL), EFAULT);
    /* This filter would forbid everything. The kernel refuses it, because its flag is unknown. */
    load_number();
    otherwise(SECCOMP_RET_KILL_PROCESS);
    struct sock_fprog all = {length, rules};
    FAILS(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 1u << 30, &all), EINVAL);
}

static void nothing_but_writing(void) {
    load_number();
    answer(SYS_write, SECCOMP_RET_ALLOW);
    answer(SYS_exit_group, SECCOMP_RET_ALLOW);
    answer(SYS_rt_sigreturn, SECCOMP_RET_ALLOW);
    otherwise(SECCOMP_RET_KILL_PROCESS);
}

static int is(const char *way, const char *name) { return strcmp(way, name) == 0; }

int main(int count, char **arguments) {
    const char *way = count > 1 ? arguments[1] : "";
    QUIETLY(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    if (is(way, "launch") || is(way, "launch-errno")) {
        foreign_calls(is(way, "launch") ? SECCOMP_RET_KILL_PROCESS : SECCOMP_RET_ERRNO | EPERM, BUT_THE_LOADER);
        by_prctl();
        execl("/proc/self/exe", "seccomp", "launched", NULL);
        return 3;
    }
    begin();
    if (is(way, "pending")) {
        load_number();
        answer(SYS_rt_sigpending, SECCOMP_RET_KILL_PROCESS);
        otherwise(SECCOMP_RET_ALLOW);
        by_prctl();
    } else if (is(way, "foreign")) {
        foreign_calls(SECCOMP_RET_KILL_THREAD, FOREIGN);
        by_seccomp(0);
    } else if (is(way, "raw-prctl")) {
        foreign_calls(SECCOMP_RET_KILL_PROCESS, FOREIGN);
        by_raw_prctl();
    } else if (is(way, "errno")) {
        foreign_calls(SECCOMP_RET_ERRNO | ENOSYS, FOREIGN);
        by_prctl();
    } else if (is(way, "trap")) {
        signal(SIGSYS, on_trap);
        foreign_calls(SECCOMP_RET_TRAP, FOREIGN);
        by_prctl();
    } else if (is(way, "no-identity")) {
        load_number();
        answer(SYS_getpid, SECCOMP_RET_KILL_PROCESS);
        answer(SYS_gettid, SECCOMP_RET_KILL_PROCESS);
        answer(SYS_geteuid, SECCOMP_RET_KILL_PROCESS);
        otherwise(SECCOMP_RET_ALLOW);
        by_prctl();
    } else if (is(way, "no-memory")) {
        foreign_calls(SECCOMP_RET_KILL_PROCESS, FOREIGN);
        by_prctl();
        load_number();
        answer(SYS_mmap, SECCOMP_RET_KILL_PROCESS);
        answer(SYS_munmap, SECCOMP_RET_KILL_PROCESS);
        answer(SYS_mremap, SECCOMP_RET_KILL_PROCESS);
        answer(SYS_madvise, SECCOMP_RET_KILL_PROCESS);
        otherwise(SECCOMP_RET_ALLOW);
        by_prctl();
    } else if (is(way, "no-masks")) {
        load_number();
        answer(SYS_rt_sigprocmask, SECCOMP_RET_KILL_PROCESS);
        otherwise(SECCOMP_RET_ALLOW);
        by_prctl();
    } else if (is(way, "no-opening")) {
        load_number();
        answer(SYS_openat, SECCOMP_RET_KILL_PROCESS);
        answer(SYS_readlinkat, SECCOMP_RET_KILL_PROCESS);
        otherwise(SECCOMP_RET_ALLOW);
        by_prctl();
    } else if (is(way, "stacked")) {
        load_number();
        answer(SYS_kcmp, SECCOMP_RET_KILL_PROCESS);
        otherwise(SECCOMP_RET_ALLOW);
        by_prctl();
        load_number();
        answer(SYS_kcmp, SECCOMP_RET_ERRNO | EPERM);
        answer(SYS_rt_sigpending, SECCOMP_RET_KILL_PROCESS);
        otherwise(SECCOMP_RET_ALLOW);
        by_seccomp(0);
    } else if (is(way, "arguments")) {
        length = 0;
        /* No file is opened for writing, no signal is blocked by SIG_SETMASK, fcntl does not read
         * flags, prctl reads nothing. */
        answer_argument(SYS_openat, 2, O_ACCMODE, O_WRONLY, SECCOMP_RET_KILL_PROCESS);
        answer_argument(SYS_openat, 2, O_ACCMODE, O_RDWR, SECCOMP_RET_KILL_PROCESS);
        answer_argument(SYS_openat, 2, O_DIRECTORY, O_DIRECTORY, SECCOMP_RET_KILL_PROCESS);
        answer_argument(SYS_rt_sigprocmask, 0, ~0u, SIG_SETMASK, SECCOMP_RET_KILL_PROCESS);
        answer_argument(SYS_fcntl, 1, ~0u, F_GETFD, SECCOMP_RET_KILL_PROCESS);
        answer_argument(SYS_prctl, 0, ~0u, PR_GET_SECCOMP, SECCOMP_RET_KILL_PROCESS);
        answer_argument(SYS_clone, 0, 0xff, 0, SECCOMP_RET_KILL_PROCESS);
        otherwise(SECCOMP_RET_ALLOW);
        by_prctl();
    } else if (is(way, "tsync")) {
        pthread_t threads[4];
        for (int i = 0; i < 4; i++) QUIETLY(pthread_create(&threads[i], NULL, waits_and_works, &epfd) == 0);
        foreign_calls(SECCOMP_RET_KILL_PROCESS, FOREIGN);
        by_seccomp(SECCOMP_FILTER_FLAG_TSYNC);
        gate = 1;
        for (int i = 0; i < 4; i++) QUIETLY(pthread_join(threads[i], NULL) == 0);
    } else if (is(way, "one-thread")) {
        with_thread(sandboxes_itself);
    } else if (is(way, "strict-thread")) {
        with_thread(restricts_itself);
        CHECK(was_strict);
    } else if (is(way, "thread-later")) {
        foreign_calls(SECCOMP_RET_KILL_PROCESS, BUT_CLONE);
        by_prctl();
        with_thread(in_thread);
    } else if (is(way, "fork")) {
        foreign_calls(SECCOMP_RET_KILL_PROCESS, BUT_CLONE);
        by_prctl();
        pid_t child = fork();
        if (child == 0) {
            go_on();
            return verdict();
        }
        EQUAL(status_of(child), 0);
    } else if (is(way, "refused")) {
        refused_filters();
    } else if (is(way, "no-counter")) {
        CHECK(prctl(PR_SET_TSC, PR_TSC_SIGSEGV) == 0);
#ifdef WITH_LIBSECCOMP
    } else if (is(way, "libseccomp")) {
        scmp_filter_ctx context = seccomp_init(SCMP_ACT_ALLOW);
        for (size_t i = 0; i < FOREIGN; i++) QUIETLY(seccomp_rule_add(context, SCMP_ACT_KILL_PROCESS, foreign[i], 0) == 0);
        CHECK(seccomp_load(context) == 0);
        seccomp_release(context);
#endif
    } else if (is(way, "write-only")) {
        nothing_but_writing();
        by_prctl();
        int result = verdict();
        _exit(result);
    } else if (is(way, "write-only-main")) {
        nothing_but_writing();
        by_prctl();
        return verdict();
    } else if (is(way, "strict")) {
        int result = prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT, 0, 0, 0);
        check_equal(result, 0, "strict mode", __LINE__);
        syscall(SYS_exit, verdict());
    } else if (is(way, "strict-exit")) {
        /* Ends by SIGKILL: exit_group is not among the four calls that are left. */
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT, 0, 0, 0);
        _exit(0);
    }
    go_on();
    EQUAL(traps, 0);
    return verdict();
}
