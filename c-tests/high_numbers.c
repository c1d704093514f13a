/* Descriptors with high numbers, as many as this process may have. */
#include "check.h"

int main(void) {
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    struct rlimit higher = {1 << 18, 1 << 18};
    if (setrlimit(RLIMIT_NOFILE, &higher) == 0) limit = higher;
    limit.rlim_cur = limit.rlim_max < (1 << 18) ? limit.rlim_max : (1 << 18);
    setrlimit(RLIMIT_NOFILE, &limit);
    int top = (int)limit.rlim_cur - 1, epfd = WORKS(epoll_create1(0)), fd = WORKS(eventfd(1, 0));
    say("     the highest number is %d\n", top);
    GIVES(dup2(epfd, top), top);
    GIVES(close(epfd), 0);
    GIVES(dup2(fd, top - 1), top - 1);
    GIVES(add(top, top - 1, EPOLLIN), 0);
    GIVES(close(fd), 0);
    LEDGER_AGREES();
    GIVES(events_of(top, 0), EPOLLIN);
    for (int at = top - 2; at > top / 2; at -= top / 7) {
        GIVES(fcntl(top, F_DUPFD, at), at);
        GIVES(dup3(top - 1, at - 1, O_CLOEXEC), at - 1);
        GIVES(add(at, at - 1, EPOLLIN), 0);
    }
    LEDGER_AGREES();
    FAILS(dup2(fd, top), EBADF);
    FAILS(dup2(top, top + 1), EBADF);
    FAILS(close(top + 1), EBADF);
    FAILS(close(INT32_MAX), EBADF);
    FAILS(close(INT32_MIN), EBADF);
    GIVES(close_range((unsigned)top / 2, (unsigned)top - 2, 0), 0);
    LEDGER_AGREES();
    GIVES(close(top - 1), 0);
    GIVES(events_of(top, 0), 0);
    GIVES(close_range(3, ~0u, 0), 0);
    LEDGER_AGREES();
    return verdict();
}
