/* fork by syscall(SYS_clone), which no wrapper and no atfork handler sees: the child is a separate
 * process. */
#include "check.h"

#include <linux/sched.h>

static int epfd, fd, copy;

static pid_t raw_fork(int way) {
#ifdef SYS_fork
    if (way == 1) return (pid_t)syscall(SYS_fork);
#endif
    if (way == 2) {
        struct clone_args arguments = {.exit_signal = SIGCHLD};
        return (pid_t)syscall(SYS_clone3, &arguments, sizeof arguments);
    }
    return (pid_t)syscall(SYS_clone, (long)SIGCHLD, 0L, 0L, 0L, 0L);
}

static void child(int way) {
    int own = WORKS(epoll_create1(0));
    GIVES(add(own, fd, EPOLLIN), 0);
    GIVES(add(own, epfd, EPOLLIN), 0);
    LEDGER_AGREES();
    GIVES(close(epfd), 0);
    GIVES(close(copy), 0);
    GIVES(close(own), 0);
    LEDGER_AGREES();
    GIVES(epoll_create1(0), epfd);
    LEDGER_AGREES();
    if (way == 1) exit(checks_failed ? 1 : 30);
    _exit(checks_failed ? 1 : 30);
}

int main(void) {
    epfd = WORKS(epoll_create1(0));
    fd = WORKS(eventfd(0, 0));
    copy = WORKS(dup(epfd));
    GIVES(add(epfd, fd, EPOLLIN), 0);
    for (int way = 0; way < 3; way++) {
        pid_t pid = raw_fork(way);
        if (pid == 0) child(way);
        QUIETLY(pid > 0);
        EQUAL(status_of(pid), 30);
        FAILS(add(copy, fd, EPOLLIN), EEXIST);
        GIVES(fcntl(epfd, F_GETFD), 0);
        LEDGER_AGREES();
    }
    EQUAL(eventfd_write(fd, 1), 0);
    GIVES(events_of(epfd, 0), EPOLLIN);
    return verdict();
}
