/* Faults together with signals, cancellation and children. */
#include "fault_rows.h"

#include <sys/auxv.h>
#include <sys/mman.h>

static volatile sig_atomic_t handled;
static int epfd, ready, idle;
static struct epoll_event got[8];

static void on_signal(int number) {
    (void)number;
    handled++;
}

static void handle(int number, int flags) {
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = flags};
    sigaction(number, &action, NULL);
    handled = 0;
}

static void timer(long first_ms, long every_ms) {
    struct itimerval times = {{every_ms / 1000, every_ms % 1000 * 1000}, {first_ms / 1000, first_ms % 1000 * 1000}};
    setitimer(ITIMER_REAL, &times, NULL);
}

static void build(void) {
    epfd = epoll_create1(EPOLL_CLOEXEC);
    ready = eventfd(1, 0);
    idle = eventfd(0, 0);
    QUIETLY(add(epfd, idle, EPOLLIN) == 0);
}

#define SECOND 1000000000ll

/* A handler ends the delay of a wait, just as it would end the wait. */
static void delayed_waits_are_interrupted(void) {
    build();
    struct timespec long_time = {20, 0}, no_time = {0, 0};
    ARM("epoll_wait,epoll_pwait,epoll_pwait2:delay_enter=20s");
    for (int restarts = 0; restarts < 2; restarts++) {
        handle(SIGALRM, restarts ? SA_RESTART : 0);
        int64_t began = now_ns();
/* The timer fires every second: on a busy machine the first signal may arrive before the call. */
#define ALARMED(check)              \
    do {                            \
        handled = 0;                \
        timer(50, 1000);            \
        check;                      \
        timer(0, 0);                \
        CHECK(handled >= 1);        \
    } while (0)
#define INTERRUPTED(call) ALARMED(FAILS(call, EINTR))
        INTERRUPTED(epoll_wait(epfd, got, 8, -1));
        INTERRUPTED(epoll_wait(epfd, got, 8, 20000));
        INTERRUPTED(epoll_pwait(epfd, got, 8, -1, NULL));
        INTERRUPTED(epoll_pwait2(epfd, got, 8, NULL, NULL));
        INTERRUPTED(epoll_pwait2(epfd, got, 8, &long_time, NULL));
        INTERRUPTED(syscall(SYS_epoll_wait, epfd, got, 8, -1));
        INTERRUPTED(syscall(SYS_epoll_pwait, epfd, got, 8, -1, NULL, 0));
        /* A wait that would not have blocked does not fail. */
        ALARMED(GIVES(epoll_wait(epfd, got, 8, 0), 0));
        ALARMED(GIVES(epoll_pwait2(epfd, got, 8, &no_time, NULL), 0));
        /* What is ready is returned. */
        GIVES(add(epfd, ready, EPOLLIN), 0);
        ALARMED(GIVES(epoll_wait(epfd, got, 8, -1), 1));
        EQUAL(got[0].data.u64, ready);
        GIVES(epoll_ctl(epfd, EPOLL_CTL_DEL, ready, NULL), 0);
        /* None of the delays lasted until its end. */
        CHECK(now_ns() - began < 20 * SECOND);
        alarm(PATIENCE);
    }
    /* A signal without a handler is no interruption. */
    ARM("epoll_wait:delay_enter=200ms");
    signal(SIGALRM, SIG_IGN);
    timer(50, 0);
    int64_t start = now_ns();
    GIVES(epoll_wait(epfd, got, 8, 1), 0);
    CHECK(now_ns() - start >= SECOND / 5);
}

/* Other calls keep their delay whatever arrives, and succeed. */
static void delayed_calls_are_not_interrupted(void) {
    build();
    handle(SIGALRM, 0);
    ARM("epoll_ctl,dup,close:delay_enter=100ms:delay_exit=100ms");
    timer(10, 10);
    int64_t start = now_ns();
    GIVES(add(epfd, ready, EPOLLIN), 0);
    CHECK(now_ns() - start >= SECOND / 5);
    start = now_ns();
    int copy = WORKS(dup(ready));
    CHECK(now_ns() - start >= SECOND / 5);
    start = now_ns();
    GIVES(close(copy), 0);
    CHECK(now_ns() - start >= SECOND / 5);
    CHECK(handled >= 5);
    ARM("epoll_wait:delay_exit=200ms");
    start = now_ns();
    GIVES(epoll_wait(epfd, got, 8, -1), 1);
    CHECK(now_ns() - start >= SECOND / 5);
    timer(0, 0);
    LEDGER_KNOWS();
}

/* The signal of a rule: once per call, with the program's mask both before and after it. */
static void signals_of_rules(void) {
    build();
    handle(SIGUSR1, 0);
    sigset_t set, before, after;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    pthread_sigmask(SIG_SETMASK, &set, NULL);
    pthread_sigmask(SIG_SETMASK, NULL, &before);
    ARM("all:signal=USR1");
    int expected = 0;
#define SIGNALLED(check)                                      \
    do {                                                      \
        check;                                                \
        EQUAL(handled, ++expected);                           \
        pthread_sigmask(SIG_SETMASK, NULL, &after);           \
        CHECK(same_signals(&before, &after));                 \
    } while (0)
    struct timespec short_time = {0, 1000000};
    SIGNALLED(FAILS(epoll_wait(epfd, got, 8, -1), EINTR));
    SIGNALLED(GIVES(epoll_wait(epfd, got, 8, 0), 0));
    SIGNALLED(FAILS(epoll_pwait(epfd, got, 8, -1, NULL), EINTR));
    SIGNALLED(FAILS(epoll_pwait(epfd, got, 8, -1, &set), EINTR));
    SIGNALLED(FAILS(epoll_pwait2(epfd, got, 8, NULL, NULL), EINTR));
    SIGNALLED(FAILS(epoll_pwait2(epfd, got, 8, &short_time, &set), EINTR));
    SIGNALLED(FAILS(syscall(SYS_epoll_wait, epfd, got, 8, -1), EINTR));
    SIGNALLED(FAILS(syscall(SYS_epoll_pwait, epfd, got, 8, -1, NULL, 0), EINTR));
    SIGNALLED(FAILS(syscall(SYS_epoll_pwait, epfd, got, 8, -1, &set, 8), EINTR));
    SIGNALLED(FAILS(syscall(SYS_epoll_pwait2, epfd, got, 8, NULL, NULL, 0), EINTR));
    SIGNALLED(GIVES(add(epfd, ready, EPOLLIN), 0));
    SIGNALLED(GIVES(epoll_wait(epfd, got, 8, -1), 1));
    SIGNALLED(FAILS(epoll_wait(-1, got, 8, -1), EBADF));
    SIGNALLED(FAILS(dup(-1), EBADF));
    SIGNALLED(GIVES(epoll_ctl(epfd, EPOLL_CTL_DEL, ready, NULL), 0));
    /* Blocked by the wait's own mask: delivered after it. */
    sigaddset(&set, SIGUSR1);
    SIGNALLED(GIVES(epoll_pwait(epfd, got, 8, 10, &set), 0));
    /* Blocked by the program: delivered later. */
    pthread_sigmask(SIG_SETMASK, &set, NULL);
    GIVES(epoll_wait(epfd, got, 8, 10), 0);
    EQUAL(handled, expected);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    EQUAL(handled, expected + 1);
    LEDGER_KNOWS();
}

static volatile int cleaned, waits;
static void clean(void *unused) {
    (void)unused;
    cleaned++;
}
static void *waits_for_ever(void *unused) {
    struct epoll_event one;
    pthread_cleanup_push(clean, NULL);
    for (;;) {
        epoll_wait(epfd, &one, 1, -1);
        waits++;
    }
    pthread_cleanup_pop(0);
    return unused;
}

/* A thread that gets only injected answers can be cancelled. So can a thread whose waits are
 * delayed or signalled. */
static void cancellation(void) {
    build();
    handle(SIGUSR1, 0);
    static const char *const rules[] = {
        "epoll_wait:error=EINTR",         "epoll_wait:retval=0",       "epoll_wait:timeout",
        "epoll_wait:delay_enter=100ms",   "epoll_wait:signal=USR1",    "epoll_wait:delay_exit=50ms:timeout",
        "epoll_wait:error=EINTR:delay_enter=50ms",
    };
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        ARM(rules[i]);
        pthread_t thread;
        void *end = NULL;
        cleaned = waits = 0;
        pthread_create(&thread, NULL, waits_for_ever, NULL);
        if (i != 3) while (waits < 3) nap(1);
        else nap(20);
        EQUAL(pthread_cancel(thread), 0);
        EQUAL(pthread_join(thread, &end), 0);
        CHECK(end == PTHREAD_CANCELED);
        EQUAL(cleaned, 1);
    }
    /* Nor must it wait until a long delay ends. */
    ARM("epoll_wait:delay_enter=60s");
    pthread_t thread;
    void *end = NULL;
    int64_t began = now_ns();
    cleaned = 0;
    pthread_create(&thread, NULL, waits_for_ever, NULL);
    nap(30);
    pthread_cancel(thread);
    pthread_join(thread, &end);
    CHECK(end == PTHREAD_CANCELED && cleaned == 1 && now_ns() - began < 30 * SECOND);
    /* But not a thread that has disabled cancellation. */
    ARM("epoll_wait:error=EINTR");
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
    pthread_cancel(pthread_self());
    FAILS(epoll_wait(epfd, got, 8, -1), EINTR);
}

/* A child of fork starts counting at one. What was armed is armed there, too. */
static void forks(void) {
    build();
    ARM("dup:error=EMFILE:when=3;epoll_wait:error=EINTR:max=2;epoll_pwait:error=EINTR:scope=thread:when=2");
    QUIETLY(dup(ready) >= 0 && dup(ready) >= 0);
    FAILS(epoll_wait(epfd, got, 1, 0), EINTR);
    GIVES(epoll_pwait(epfd, got, 1, 0, NULL), 0);
    for (int generation = 0; generation < 2; generation++) {
        pid_t child = fork();
        if (child == 0) {
            QUIETLY(dup(ready) >= 0 && dup(ready) >= 0);
            FAILS(dup(ready), EMFILE);
            QUIETLY(dup(ready) >= 0);
            FAILS(epoll_wait(epfd, got, 1, 0), EINTR);
            FAILS(epoll_wait(epfd, got, 1, 0), EINTR);
            GIVES(epoll_wait(epfd, got, 1, 0), 0);
            GIVES(epoll_pwait(epfd, got, 1, 0, NULL), 0);
            FAILS(epoll_pwait(epfd, got, 1, 0, NULL), EINTR);
            _exit(checks_failed);
        }
        EQUAL(status_of(child), 0);
    }
    FAILS(dup(ready), EMFILE);
    FAILS(epoll_wait(epfd, got, 1, 0), EINTR);
    GIVES(epoll_wait(epfd, got, 1, 0), 0);
    FAILS(epoll_pwait(epfd, got, 1, 0, NULL), EINTR);
}

__attribute__((noinline)) static pid_t vfork_child(void) {
    pid_t child = vfork();
    if (child == 0) {
        int failed = dup(ready) != -1 || errno != EMFILE;
        failed |= epoll_wait(epfd, got, 8, -1) != -1 || errno != EINTR;
        failed |= epoll_create1(0) != -1 || errno != ENFILE;
        failed |= close(ready) != 0;
        failed |= fcntl(idle, F_GETFD) != 0;
        _exit(failed);
    }
    return child;
}

static void vforks(void) {
    build();
    ARM("dup:error=EMFILE;epoll_wait:error=EINTR:delay_enter=1ms;epoll_create1:error=ENFILE:signal=CHLD;close:delay_exit=1ms");
    for (int round = 0; round < 20; round++) QUIETLY(status_of(vfork_child()) == 0);
    DISARM();
    GIVES(fcntl(ready, F_GETFD), 0);
    GIVES(add(epfd, ready, EPOLLIN), 0);
    GIVES(epoll_wait(epfd, got, 8, 0), 1);
    LEDGER_KNOWS();
}

static volatile sig_atomic_t wrong;
static void on_small_stack(int number) {
    int kept = errno;
    struct epoll_event event[4] = {{.events = EPOLLIN}};
    (void)number;
    if (epoll_wait(epfd, event, 4, -1) != -1 || errno != EINTR) wrong = 1;
    if (epoll_pwait(epfd, event, 4, 0, NULL) != 1 || !(event[0].events & EPOLLHUP)) wrong = 2;
    if (epoll_create1(0) != -1 || errno != EMFILE) wrong = 3;
    if (epoll_ctl(epfd, EPOLL_CTL_MOD, ready, event) != 0) wrong = 4;
    if (syscall(SYS_epoll_wait, epfd, event, 4, 0) != -1 || errno != EINTR) wrong = 5;
    int copy = dup(ready);
    if (copy < 0 || close(copy) != 0) wrong = 6;
    handled++;
    errno = kept;
}

/* Calls in a handler on the smallest stack that the system allows, after a page that faults, in the
 * middle of calls of the same kind. */
static void small_stacks(void) {
    build();
    QUIETLY(add(epfd, ready, EPOLLIN) == 0);
    size_t size = (size_t)getauxval(51 /* AT_MINSIGSTKSZ */) + 2048, pages = (size + 4095) / 4096 * 4096;
    char *memory = mmap(NULL, pages + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    mprotect(memory, 4096, PROT_NONE);
    stack_t stack = {.ss_sp = memory + 4096 + pages - size, .ss_size = size};
    EQUAL(sigaltstack(&stack, NULL), 0);
    struct sigaction action = {.sa_handler = on_small_stack, .sa_flags = SA_ONSTACK};
    sigaction(SIGALRM, &action, NULL);
    ARM("epoll_wait:error=EINTR;epoll_pwait:forge=EPOLLHUP:shuffle:batch=3;epoll_create1:error=EMFILE;"
        "epoll_ctl:error=EIO:events=EPOLLPRI:op=ADD;dup:delay_enter=1us:prob=0.5");
    timer(2, 2);
    for (int i = 0; handled < 100; i++) {
        QUIETLY(epoll_wait(epfd, got, 8, -1) == -1 && errno == EINTR);
        QUIETLY(epoll_create1(0) == -1 && errno == EMFILE);
        QUIETLY(epoll_pwait(epfd, got, 8, 0, NULL) == 1 && got[0].events == (EPOLLIN | EPOLLHUP));
    }
    timer(0, 0);
    EQUAL(wrong, 0);
}

static const struct mode modes[] = {
    {"delayed_waits", delayed_waits_are_interrupted}, {"delayed_calls", delayed_calls_are_not_interrupted},
    {"signals", signals_of_rules},                    {"cancellation", cancellation},
    {"forks", forks},                                 {"vforks", vforks},
    {"small_stacks", small_stacks},
};

int main(int argc, char **argv) { return RUN_MODE(modes, argc, argv); }
