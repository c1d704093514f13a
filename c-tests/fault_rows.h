/* For programs that arm faults themselves. They run only under the library. */
#ifndef FAULT_ROWS_H
#define FAULT_ROWS_H
#include "check.h"

#include <sys/time.h>

extern int epollshim_inject(const char *rules) __attribute__((weak));
extern int epollshim_inject_clear(void) __attribute__((weak));
extern int epollshim_reset(void) __attribute__((weak));
extern const char *epollshim_error(void) __attribute__((weak));

/* Only these rules, with their counts at zero. */
#define ARM(rules)                                                                                                  \
    do {                                                                                                            \
        QUIETLY(epollshim_inject_clear() == 0);                                                                     \
        if (epollshim_inject(rules) != 0) {                                                                         \
            checks_failed = 1;                                                                                      \
            say("FAIL line %d: %s: errno %d: %s\n", __LINE__, (rules), errno, epollshim_error());                   \
        } else {                                                                                                    \
            say("     armed: %s\n", (rules));                                                                       \
        }                                                                                                           \
    } while (0)
#define DISARM() QUIETLY(epollshim_inject_clear() == 0)

/* All kernel state that a call could change: which descriptors are open with which flags, and what
 * the epoll instance watches. Read by system calls that have no hook. */
struct state {
    char open[4096];
    char watched[4096];
};

__attribute__((unused)) static struct state state_of(int epfd) {
    struct state state;
    size_t length = 0;
    memset(&state, 0, sizeof state);
    for (int fd = 0; fd < 100; fd++) {
        char path[64], target[64];
        long flags;
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        ssize_t got = readlink(path, target, sizeof target - 1);
        if (got < 0) continue;
        target[got] = 0;
        __asm__ volatile("syscall"
                         : "=a"(flags)
                         : "a"(SYS_fcntl), "D"((long)fd), "S"((long)F_GETFD), "d"(0L)
                         : "rcx", "r11", "memory");
        length += (size_t)snprintf(state.open + length, sizeof state.open - length, "%d %s %ld\n", fd, target, flags);
    }
    char path[64], line[256];
    snprintf(path, sizeof path, "/proc/self/fdinfo/%d", epfd);
    FILE *info = fopen(path, "re");
    length = 0;
    while (info != NULL && fgets(line, sizeof line, info) != NULL) {
        if (strncmp(line, "tfd:", 4) == 0) {
            length += (size_t)snprintf(state.watched + length, sizeof state.watched - length, "%s", line);
        }
    }
    if (info != NULL) fclose(info);
    return state;
}

#define SAME_STATE(before, epfd)                                                                            \
    do {                                                                                                    \
        struct state now_ = state_of(epfd);                                                                 \
        if (memcmp(&now_, &(before), sizeof now_) != 0) {                                                   \
            checks_failed = 1;                                                                              \
            say("FAIL line %d: the kernel was asked. Before:\n%s", __LINE__, (before).open);                \
            say("%sAfter:\n", (before).watched);                                                            \
            say("%s", now_.open);                                                                           \
            say("%s", now_.watched);                                                                        \
        }                                                                                                   \
    } while (0)

struct mode {
    const char *name;
    void (*run)(void);
};

__attribute__((unused)) static int run_mode(const struct mode *modes, size_t count, int argc, char **argv) {
    if (epollshim_inject == NULL) {
        say("not under the shim\n");
        return 3;
    }
    for (size_t i = 0; i < count; i++) {
        if (argc == 2 && strcmp(argv[1], modes[i].name) == 0) {
            modes[i].run();
            DISARM();
            return verdict();
        }
    }
    say("no such mode\n");
    return 3;
}
#define RUN_MODE(modes, argc, argv) run_mode(modes, sizeof modes / sizeof *modes, argc, argv)
#endif
