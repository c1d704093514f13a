/* Handlers that call epoll themselves, on a small alternate stack, while the interrupted code does
 * the same; and the same work on the smallest thread stacks that the system allows. */
#include "check.h"

#include <limits.h>
#include <sys/auxv.h>
#include <sys/time.h>

#define SIGNALS 300

static volatile sig_atomic_t handled, handler_failed, is_over;
static int shared;
static size_t small; /* the kernel's frame for the registers, and 2 KiB for the handler */

/* Everything once: creations, interests, a wait, closes. Returns 1 if all went well. */
static int work(void) {
    struct epoll_event event = interest(EPOLLIN, 1);
    int epfd = epoll_create1(EPOLL_CLOEXEC), fd = eventfd(1, EFD_CLOEXEC), copy = dup(fd), instance = dup(epfd);
    int fine = epfd >= 0 && fd >= 0 && copy >= 0 && instance >= 0;
    fine &= epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &event) == 0;
    fine &= epoll_ctl(instance, EPOLL_CTL_ADD, copy, &event) == 0;
    fine &= epoll_ctl(epfd, EPOLL_CTL_MOD, fd, &event) == 0;
    fine &= epoll_wait(epfd, &event, 1, 0) == 1;
    fine &= epoll_ctl(epfd, EPOLL_CTL_DEL, fd, NULL) == 0;
    fine &= epoll_ctl(shared, EPOLL_CTL_ADD, fd, &event) == 0;
    fine &= close(epfd) == 0 && close(fd) == 0;
    fine &= epoll_pwait(instance, &event, 1, 0, NULL) == 1;
    fine &= fcntl(copy, F_SETFD, 0) == 0 && syscall(SYS_close, copy) == 0 && close(instance) == 0;
    return fine;
}

/* Sends SIGALRM once. Not at intervals: on a busy machine the next signal would come before the
 * handler has returned, and the interrupted code would never continue. */
static void signal_soon(void) {
    struct itimerval soon = {{0, 0}, {0, 300}};
    setitimer(ITIMER_REAL, &soon, NULL);
}

static void on_signal(int number) {
    int kept = errno;
    if (!work()) handler_failed = 1;
    handled++;
    if (number == SIGALRM && !is_over) signal_soon();
    errno = kept;
}

static int work_until_signalled(void) {
    struct itimerval off = {{0, 0}, {0, 0}};
    int fine = 1;
    handled = is_over = 0;
    signal_soon();
    while (handled < SIGNALS) fine &= work();
    is_over = 1;
    setitimer(ITIMER_REAL, &off, NULL);
    return fine;
}

static void *on_small_stack(void *alternate) {
    stack_t stack = {.ss_sp = alternate, .ss_size = small};
    if (alternate != NULL) sigaltstack(&stack, NULL);
    intptr_t fine = 1;
    for (int i = 0; i < 50; i++) {
        fine &= work();
        if (alternate != NULL) pthread_kill(pthread_self(), SIGUSR1);
    }
    return (void *)fine;
}

/* `size` bytes right after a page that faults. */
static void *guarded(size_t size) {
    size_t pages = (size + 4095) / 4096 * 4096;
    char *map = mmap(NULL, pages + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    mprotect(map, 4096, PROT_NONE);
    return map + 4096;
}

int main(void) {
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART | SA_ONSTACK};
    size_t frame = getauxval(AT_MINSIGSTKSZ);
    small = (frame != 0 ? frame : (size_t)MINSIGSTKSZ) + 2048;
    stack_t stack = {.ss_sp = guarded(small), .ss_size = small};
    shared = epoll_create1(EPOLL_CLOEXEC);
    alarm(0);
    sigaction(SIGALRM, &action, NULL);
    sigaction(SIGUSR1, &action, NULL);

    CHECK(work());
    CHECK(work_until_signalled());
    CHECK(!handler_failed);
    CHECK(sigaltstack(&stack, NULL) == 0);
    handled = 0;
    raise(SIGUSR1);
    EQUAL(handled, 1);
    CHECK(work_until_signalled());
    CHECK(!handler_failed);
    LEDGER_KNOWS();

    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    EQUAL(pthread_attr_setstacksize(&attributes, PTHREAD_STACK_MIN), 0);
    for (int round = 0; round < 4; round++) {
        pthread_t threads[4];
        void *fine[4];
        for (int i = 0; i < 4; i++) {
            QUIETLY(pthread_create(&threads[i], &attributes, on_small_stack, round % 2 ? guarded(small) : NULL) == 0);
        }
        for (int i = 0; i < 4; i++) pthread_join(threads[i], &fine[i]);
        CHECK(fine[0] && fine[1] && fine[2] && fine[3]);
    }
    CHECK(!handler_failed);
    LEDGER_KNOWS();
    return verdict();
}
