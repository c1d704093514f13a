/* Makes a known number of one kind of call. tests/cost.rs counts from outside what each call costs.
 *
 * cost_calls PATH ROUNDS   (under strace)
 * cost_calls all ROUNDS    each path, under callgrind: one dump of instruction counts per path,
 *                          named after it
 * cost_calls list          names of the paths
 *
 * A round is one call, or the creation and the close of a descriptor. Nothing here checks results
 * beyond the first round: a path that does not do what it claims ends the program. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#if __has_include(<valgrind/callgrind.h>)
#include <valgrind/callgrind.h>
#else
#define CALLGRIND_ZERO_STATS
#define CALLGRIND_DUMP_STATS_AT(name) (void)(name)
#endif

static int quiet_epfd, ready_epfd, watched, ready, spare, unknown;
static struct epoll_event events[8];
static struct epoll_event interest = {.events = EPOLLIN};
static const struct timespec zero;

/* Each returns whether the call had the expected result. */
static int wait_nothing(void) { return epoll_wait(quiet_epfd, events, 8, 0) == 0; }
static int wait_ready(void) { return epoll_wait(ready_epfd, events, 8, 0) == 1; }
static int pwait(void) { return epoll_pwait(quiet_epfd, events, 8, 0, NULL) == 0; }
static int pwait2(void) { return epoll_pwait2(quiet_epfd, events, 8, &zero, NULL) == 0; }
static int raw_wait(void) { return syscall(SYS_epoll_pwait, quiet_epfd, events, 8, 0, NULL, 8L) == 0; }
static int wait_blocking(void) { return epoll_wait(ready_epfd, events, 8, 1000) == 1; }
static int wait_failing(void) { return epoll_wait(-1, events, 8, 0) == -1 && errno == EBADF; }
static int modify(void) { return epoll_ctl(quiet_epfd, EPOLL_CTL_MOD, watched, &interest) == 0; }
static int add_failing(void)
{
    return epoll_ctl(quiet_epfd, EPOLL_CTL_ADD, watched, &interest) == -1 && errno == EEXIST;
}
static int add_delete(void)
{
    return epoll_ctl(quiet_epfd, EPOLL_CTL_ADD, spare, &interest) == 0 &&
           epoll_ctl(quiet_epfd, EPOLL_CTL_DEL, spare, NULL) == 0;
}
static int close_unknown(void) { return close(eventfd(0, EFD_CLOEXEC)) == 0; }
static int raw_close_unknown(void) { return syscall(SYS_close, eventfd(0, EFD_CLOEXEC)) == 0; }
static int close_failing(void) { return close(-1) == -1 && errno == EBADF; }
static int dup_unknown(void) { return close(dup(unknown)) == 0; }
static int fcntl_dup_unknown(void) { return close(fcntl(unknown, F_DUPFD_CLOEXEC, 0)) == 0; }
static int fcntl_getfl(void) { return fcntl(unknown, F_GETFL) >= 0; }
static int raw_other(void) { return syscall(SYS_getppid) >= 0; }
static int create_close(void) { return close(epoll_create1(EPOLL_CLOEXEC)) == 0; }
static int dup_instance(void) { return close(dup(quiet_epfd)) == 0; }
static int dup_watched(void) { return close(dup(watched)) == 0; }
static int close_watched(void)
{
    int fd = eventfd(0, EFD_CLOEXEC);
    return epoll_ctl(quiet_epfd, EPOLL_CTL_ADD, fd, &interest) == 0 && close(fd) == 0;
}
static int open_close(void) { return close(open("/dev/null", O_RDONLY | O_CLOEXEC)) == 0; }
static int pipe_close(void)
{
    int pair[2];
    return pipe2(pair, O_CLOEXEC) == 0 && close(pair[0]) == 0 && close(pair[1]) == 0;
}
static int receive(void)
{
    static int pair[2];
    char byte = 0;
    struct iovec piece = {&byte, 1};
    struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1};
    if (pair[1] == 0 && socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, pair))
        return 0;
    return sendmsg(pair[0], &message, 0) == 1 && recvmsg(pair[1], &message, 0) == 1;
}
static int clock_read(void)
{
    struct timespec now;
    return clock_gettime(CLOCK_MONOTONIC, &now) == 0;
}

static const struct {
    const char *name;
    int (*round)(void);
} paths[] = {
    {"wait_nothing", wait_nothing},
    {"wait_ready", wait_ready},
    {"pwait", pwait},
    {"pwait2", pwait2},
    {"raw_wait", raw_wait},
    {"wait_blocking", wait_blocking},
    {"wait_failing", wait_failing},
    {"modify", modify},
    {"add_failing", add_failing},
    {"add_delete", add_delete},
    {"close_unknown", close_unknown},
    {"raw_close_unknown", raw_close_unknown},
    {"close_failing", close_failing},
    {"dup_unknown", dup_unknown},
    {"fcntl_dup_unknown", fcntl_dup_unknown},
    {"fcntl_getfl", fcntl_getfl},
    {"raw_other", raw_other},
    {"create_close", create_close},
    {"dup_instance", dup_instance},
    {"dup_watched", dup_watched},
    {"close_watched", close_watched},
    {"open_close", open_close},
    {"pipe_close", pipe_close},
    {"receive", receive},
    {"clock_read", clock_read},
};
enum { PATHS = sizeof paths / sizeof *paths };

static void check(int good, const char *name)
{
    if (good)
        return;
    printf("%s: not the result expected: %s\n", name, strerror(errno));
    exit(1);
}

static void furnish(void)
{
    quiet_epfd = epoll_create1(EPOLL_CLOEXEC);
    ready_epfd = epoll_create1(EPOLL_CLOEXEC);
    watched = eventfd(0, EFD_CLOEXEC);
    ready = eventfd(1, EFD_CLOEXEC);
    spare = eventfd(0, EFD_CLOEXEC);
    unknown = eventfd(0, EFD_CLOEXEC);
    check(epoll_ctl(quiet_epfd, EPOLL_CTL_ADD, watched, &interest) == 0, "furnish");
    check(epoll_ctl(ready_epfd, EPOLL_CTL_ADD, ready, &interest) == 0, "furnish");
}

int main(int count, char **arguments)
{
    if (count == 2 && strcmp(arguments[1], "list") == 0) {
        for (int p = 0; p < PATHS; p++)
            puts(paths[p].name);
        return 0;
    }
    if (count != 3) {
        fputs("usage: cost_calls PATH|all ROUNDS\n", stderr);
        return 2;
    }
    int rounds = atoi(arguments[2]), found = 0;
    furnish();
    for (int p = 0; p < PATHS; p++) {
        if (strcmp(arguments[1], "all") && strcmp(arguments[1], paths[p].name))
            continue;
        found = 1;
        int good = paths[p].round();
        if (!good && errno == ENOSYS) /* an old valgrind does not know every call */
            continue;
        check(good, paths[p].name);
        for (int i = 0; i < 10; i++) /* do now what is done only once */
            check(paths[p].round(), paths[p].name);
        CALLGRIND_ZERO_STATS;
        for (int i = 0; i < rounds; i++)
            paths[p].round();
        CALLGRIND_DUMP_STATS_AT(paths[p].name);
    }
    check(found, arguments[1]);
    return 0;
}
