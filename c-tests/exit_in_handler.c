/* pthread_exit from a signal handler that interrupts a wait, or a thread that makes calls without a
 * pause. The thread is unwound through whatever frame the signal interrupted; its cleanup handler
 * runs, and it can be joined. */
#include "check.h"

static int epfd, fd, other;
static volatile int cleaned, busy;

static void leave(int number) {
    (void)number;
    pthread_exit((void *)77);
}

static void clean(void *unused) {
    (void)unused;
    cleaned++;
}

static void call(intptr_t which, int forever) {
    struct epoll_event event = interest(EPOLLIN, 1);
    struct timespec zero = {0, 0};
    switch (which) {
    case 0: epoll_wait(epfd, &event, 1, forever ? -1 : 0); break;
    case 1: epoll_pwait(epfd, &event, 1, forever ? -1 : 0, NULL); break;
    case 2: epoll_pwait2(epfd, &event, 1, forever ? NULL : &zero, NULL); break;
    case 3: epoll_wait(epfd, &event, 1, 0); break;
    case 4: epoll_ctl(epfd, EPOLL_CTL_MOD, fd, &event); break;
    case 5: close(-1); break;
    case 6: fcntl(fd, F_SETFD, 0); break;
    case 7: dup2(fd, fd); break;
    case 8: syscall(SYS_epoll_ctl, epfd, EPOLL_CTL_DEL, -1, NULL); break;
    case 9: epoll_create(0); break;
    /* From now on the ledger changes, and a thread may end in the middle of a change. */
    case 10:
        epoll_ctl(epfd, EPOLL_CTL_ADD, other, &event);
        epoll_ctl(epfd, EPOLL_CTL_DEL, other, NULL);
        break;
    case 11: close(epoll_create1(EPOLL_CLOEXEC)); break;
    case 12: close(dup(epfd)); break;
    case 13: syscall(SYS_close, syscall(SYS_dup, fd)); break;
    }
}

static void *thread_of(void *which) {
    pthread_cleanup_push(clean, NULL);
    busy = 1;
    for (;;) call((intptr_t)which, 1);
    pthread_cleanup_pop(0);
    return NULL;
}

int main(void) {
    static const char *const names[] = {"epoll_wait, blocked",   "epoll_pwait, blocked", "epoll_pwait2, blocked",
                                        "epoll_wait, spinning",  "epoll_ctl, spinning",  "close, spinning",
                                        "fcntl, spinning",       "dup2, spinning",       "syscall, spinning",
                                        "epoll_create, spinning", "ADD and DEL, spinning", "create and close, spinning",
                                        "dup and close, spinning", "raw dup and close, spinning"};
    struct sigaction action = {.sa_handler = leave};
    sigaction(SIGUSR1, &action, NULL);
    epfd = epoll_create1(0);
    fd = eventfd(0, 0);
    other = eventfd(0, 0);
    GIVES(add(epfd, fd, EPOLLIN), 0);
    for (intptr_t which = 0; which < 14; which++) {
        call(which, 0); /* so that no signal interrupts the loader's lazy binding, which holds locks */
        int rounds = which < 3 ? 3 : which < 10 ? 60 : 150, joined = 0;
        cleaned = 0;
        for (int round = 0; round < rounds; round++) {
            pthread_t thread;
            void *result = NULL;
            busy = 0;
            pthread_create(&thread, NULL, thread_of, (void *)which);
            while (!busy) sched_yield();
            struct timespec span = {0, which < 3 ? 10000000 : round * 997};
            nanosleep(&span, NULL);
            pthread_kill(thread, SIGUSR1);
            pthread_join(thread, &result);
            joined += result == (void *)77;
        }
        say("     %s\n", names[which]);
        EQUAL(joined, rounds);
        EQUAL(cleaned, rounds);
    }
    /* Descriptors that the ended threads left open. Nothing is stuck: what follows is tracked as
     * before. */
    EQUAL(close_range((unsigned)other + 1, ~0u, 0), 0);
    epoll_ctl(epfd, EPOLL_CTL_DEL, other, NULL);
    LEDGER_AGREES();
    EQUAL(eventfd_write(other, 1), 0);
    GIVES(events_of(epfd, 0), 0);
    GIVES(add(epfd, other, EPOLLIN), 0);
    GIVES(events_of(epfd, 0), EPOLLIN);
    LEDGER_AGREES();
    GIVES(close(other), 0);
    GIVES(close(epfd), 0);
    LEDGER_AGREES();
    return verdict();
}
