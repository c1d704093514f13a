/* pthread_cancel of a thread that is blocked in a wait, about to enter one, or about to close: its
 * cleanup handlers run, pthread_join returns PTHREAD_CANCELED, and the process continues. */
#include "check.h"

static int epfd, idle, locked_file;
static volatile int cleaned, returned;
static struct epoll_event got[4];

static void clean(void *amount) { cleaned += (int)(intptr_t)amount; }

static void block_wait(void) { epoll_wait(epfd, got, 4, -1); }
static void block_timed(void) { epoll_wait(epfd, got, 4, 100000); }
static void block_pwait(void) {
    sigset_t none;
    sigemptyset(&none);
    epoll_pwait(epfd, got, 4, -1, &none);
}
static void block_pwait2(void) {
    struct timespec long_time = {1000, 0};
    epoll_pwait2(epfd, got, 4, &long_time, NULL);
}
static void block_setlkw(void) {
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 1};
    fcntl(locked_file, F_SETLKW, &lock);
}
static void block_setlkw64(void) {
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 1};
    fcntl64(locked_file, F_SETLKW, &lock);
}
/* With a pending cancel these must not even start. */
static void pending_wait(void) {
    pthread_cancel(pthread_self());
    epoll_wait(epfd, got, 4, 0);
}
static void pending_pwait2(void) {
    struct timespec zero = {0, 0};
    pthread_cancel(pthread_self());
    epoll_pwait2(epfd, got, 4, &zero, NULL);
}
static void pending_failing_wait(void) {
    pthread_cancel(pthread_self());
    epoll_wait(-1, got, 4, 0);
}
static void pending_close(void) {
    pthread_cancel(pthread_self());
    close(idle);
}
static void pending_close_epoll(void) {
    pthread_cancel(pthread_self());
    close(epfd);
}
/* These are no cancellation points: the thread continues to the next one. */
static void pending_others(void) {
    pthread_cancel(pthread_self());
    int copy = dup(idle), own = epoll_create1(0);
    QUIETLY(add(own, copy, EPOLLIN) == 0);
    QUIETLY(dup2(copy, 90) == 90 && fcntl(90, F_GETFD) == 0 && close_range(90, 90, 0) == 0);
    QUIETLY(syscall(SYS_close, own) == 0 && syscall(SYS_close, copy) == 0);
    cleaned += 1000;
    close(-1);
}

struct way {
    const char *name;
    void (*call)(void);
    int blocks;
};

static void *thread_of(void *argument) {
    struct way *way = argument;
    pthread_cleanup_push(clean, (void *)1);
    pthread_cleanup_push(clean, (void *)10);
    way->call();
    returned = 1;
    pthread_cleanup_pop(0);
    pthread_cleanup_pop(0);
    return NULL;
}

static void cancels(struct way *way, int expected, size_t stack) {
    pthread_t thread;
    pthread_attr_t attributes;
    void *result = NULL;
    cleaned = returned = 0;
    pthread_attr_init(&attributes);
    if (stack != 0) pthread_attr_setstacksize(&attributes, stack);
    QUIETLY(pthread_create(&thread, &attributes, thread_of, way) == 0);
    if (way->blocks) {
        nap(20);
        QUIETLY(pthread_cancel(thread) == 0);
    }
    pthread_join(thread, &result);
    if (result == PTHREAD_CANCELED && !returned && cleaned == expected) {
        say("ok   %s: cancelled, cleaned up\n", way->name);
        return;
    }
    checks_failed = 1;
    say("FAIL %s: expected PTHREAD_CANCELED, handlers to add %d, no return; got %s, %d, %s\n", way->name, expected,
        result == PTHREAD_CANCELED ? "PTHREAD_CANCELED" : "another result", cleaned, returned ? "a return" : "none");
}

int main(void) {
    static struct way ways[] = {
        {"epoll_wait", block_wait, 1},       {"epoll_wait with a timeout", block_timed, 1},
        {"epoll_pwait", block_pwait, 1},
#ifndef EPOLL_PWAIT2_IS_NO_CANCELLATION_POINT
        {"epoll_pwait2", block_pwait2, 1},   {"pending at epoll_pwait2", pending_pwait2, 0},
#endif
        {"fcntl(F_SETLKW)", block_setlkw, 1}, {"fcntl64(F_SETLKW)", block_setlkw64, 1},
        {"pending at epoll_wait", pending_wait, 0},
        {"pending at a failing wait", pending_failing_wait, 0},
        {"pending at close", pending_close, 0},      {"pending at close of the instance", pending_close_epoll, 0},
    };
    static struct way others = {"pending at what is no cancellation point", pending_others, 0};
    char path[] = "/tmp/epollshim-cancel-XXXXXX", byte;
    int ends[2];
    locked_file = mkstemp(path);
    CHECK(locked_file >= 0 && unlink(path) == 0 && pipe(ends) == 0);
    pid_t holder = fork();
    if (holder == 0) {
        struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 1};
        if (fcntl(locked_file, F_SETLK, &lock) == 0 && write(ends[1], "x", 1) == 1) pause();
        _exit(1);
    }
    EQUAL(read(ends[0], &byte, 1), 1);
    epfd = epoll_create1(0);
    idle = eventfd(0, 0);
    GIVES(add(epfd, idle, EPOLLIN), 0);
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) cancels(&ways[i], 11, round == 2 ? 65536 : 0);
        cancels(&others, 1011, 0);
    }
    /* glibc acts on a pending cancel before it closes: both descriptors are still open, and the
     * interest still exists. */
    say("     after a cancelled close: %s, %s\n", fcntl(idle, F_GETFD) == 0 ? "open" : "closed",
        fcntl(epfd, F_GETFD) == 0 ? "open" : "closed");
    EQUAL(eventfd_write(idle, 1), 0);
    GIVES(events_of(epfd, 0), EPOLLIN);
    LEDGER_AGREES();
    kill(holder, SIGKILL);
    EQUAL(status_of(holder), 1000 + SIGKILL);
    return verdict();
}
