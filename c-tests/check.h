/* What every program here needs: checks that print one line each, and a comparison of the ledger
 * with the kernel.
 *
 * A program's output must not depend on whether the library is loaded, so it has no addresses, pids
 * or timings. Each line is one write(2), without stdio, so children of fork and vfork and signal
 * handlers may check as well. */
#ifndef CHECK_H
#define CHECK_H
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Not an errno of any kernel: a call that succeeds must leave it unchanged. */
#define SENTINEL 24087

static volatile int checks_failed;

__attribute__((format(printf, 1, 2), unused)) static void say(const char *format, ...) {
    char line[512];
    va_list words;
    int kept = errno;
    va_start(words, format);
    int length = vsnprintf(line, sizeof line, format, words);
    va_end(words);
    if (length >= (int)sizeof line) length = (int)sizeof line - 1;
    if (write(1, line, (size_t)length) != length) checks_failed = 1;
    errno = kept;
}

__attribute__((unused)) static void check_that(int holds, const char *what, int line) {
    if (holds) {
        say("ok   %s\n", what);
    } else {
        checks_failed = 1;
        say("FAIL line %d: %s: expected to hold, does not (errno %d)\n", line, what, errno);
    }
}

__attribute__((unused)) static void check_equal(long got, long expected, const char *what, int line) {
    if (got == expected) {
        say("ok   %s = %ld\n", what, got);
    } else {
        checks_failed = 1;
        say("FAIL line %d: %s: expected %ld, got %ld (errno %d)\n", line, what, expected, got, errno);
    }
}

__attribute__((unused)) static long check_call(long got, int error, long expected, int expected_error, int any,
                                               const char *what, int line) {
    if ((any ? got >= 0 : got == expected) && error == expected_error) {
        if (error == SENTINEL) say("ok   %s = %ld\n", what, got);
        else say("ok   %s fails: %s\n", what, strerror(error));
    } else {
        checks_failed = 1;
        say("FAIL line %d: %s: expected %s%ld and errno %d (%s), got %ld and errno %d (%s)\n", line, what,
            any ? "at least " : "", any ? 0 : expected, expected_error,
            expected_error == SENTINEL ? "untouched" : strerror(expected_error), got, error,
            error == SENTINEL ? "untouched" : strerror(error));
    }
    return got;
}

#define CHECK(condition) check_that(!!(condition), #condition, __LINE__)
#define EQUAL(got, expected) check_equal((long)(got), (long)(expected), #got, __LINE__)
#define CALL_(call, expected, error, any)                                            \
    ({                                                                               \
        errno = SENTINEL;                                                            \
        long got_ = (long)(call);                                                    \
        check_call(got_, errno, (expected), (error), (any), #call, __LINE__);        \
    })
/* Succeeds with this value and leaves errno unchanged. */
#define GIVES(call, expected) CALL_(call, expected, SENTINEL, 0)
/* Succeeds with any value that is not negative. (It is printed: descriptor numbers are part of the
 * contract.) */
#define WORKS(call) ((int)CALL_(call, 0, SENTINEL, 1))
/* Returns -1 with this errno. */
#define FAILS(call, error) CALL_(call, -1, error, 0)
/* For loops and threads: prints nothing unless it fails. */
#define QUIETLY(condition)                                        \
    do {                                                          \
        if (!(condition)) check_that(0, #condition, __LINE__);    \
    } while (0)

/* Ends main. A program in which a check failed exits with 1. */
__attribute__((unused)) static int verdict(void) {
    say(checks_failed ? "FAILED\n" : "all checks hold\n");
    return checks_failed ? 1 : 0;
}

/* Whether two sets have the same signals. The kernel fills in 8 of a sigset_t's 128 bytes. */
__attribute__((unused)) static int same_signals(const sigset_t *one, const sigset_t *other) {
    for (int number = 1; number < _NSIG; number++) {
        if (sigismember(one, number) != sigismember(other, number)) return 0;
    }
    return 1;
}

/* A page that can be neither read nor written, for EFAULT. */
__attribute__((unused)) static void *nowhere(void) {
    static void *page;
    if (page == NULL) page = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return page;
}

__attribute__((unused)) static struct epoll_event interest(uint32_t events, uint64_t data) {
    struct epoll_event event;
    memset(&event, 0, sizeof event);
    event.events = events;
    event.data.u64 = data;
    return event;
}

__attribute__((unused)) static int add(int epfd, int fd, uint32_t events) {
    struct epoll_event event = interest(events, (uint64_t)fd);
    return epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &event);
}

/* The events that one wait returns for `fd` alone: its mask, 0 for none, or -1. */
__attribute__((unused)) static int events_of(int epfd, int milliseconds) {
    struct epoll_event event = interest(0, 0);
    int count = epoll_wait(epfd, &event, 1, milliseconds);
    return count == 1 ? (int)event.events : count;
}

__attribute__((unused)) static void nap(long milliseconds) {
    struct timespec span = {milliseconds / 1000, milliseconds % 1000 * 1000000};
    while (nanosleep(&span, &span) == -1 && errno == EINTR) continue;
}

/* Milliseconds since this process was forked, in steps of 10. */
__attribute__((unused)) static int64_t age_ms(void) {
    char text[1024];
    int fd = open("/proc/self/stat", O_RDONLY | O_CLOEXEC);
    ssize_t length = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (fd >= 0) close(fd);
    text[length < 0 ? 0 : length] = 0;
    unsigned long long began = 0;
    const char *fields = strrchr(text, ')');
    struct timespec now;
    clock_gettime(CLOCK_BOOTTIME, &now);
    /* Field 22; the third field follows the name (proc_pid_stat(5)). */
    if (fields == NULL ||
        sscanf(fields + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu", &began) != 1)
        return -1;
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000 - (int64_t)began * 1000 / sysconf(_SC_CLK_TCK);
}

__attribute__((unused)) static int64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* Waits for a child. Returns its exit status, or 1000 + the signal that killed it. */
__attribute__((unused)) static int status_of(pid_t child) {
    int status = 0;
    pid_t got;
    while ((got = waitpid(child, &status, 0)) == -1 && errno == EINTR) continue;
    if (got != child) return -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

/* A child that hangs must not hang the test run: the default action of SIGALRM ends the program. */
#define PATIENCE 300
__attribute__((constructor, unused)) static void watchdog(void) { alarm(PATIENCE); }

#include "ledger.h"
#endif
