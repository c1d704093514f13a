/* Calls that are made and still return a failure: what the kernel has afterwards, and what the
 * ledger has. */
#include "fault_rows.h"

static int is_open(int fd) {
    return syscall(SYS_fcntl, fd, F_GETFD) != -1;
}

static void handler(int number) {
    (void)number;
    ARM("close:error=EIO:made:fd=3");
}

int main(void) {
    int epfd = WORKS(epoll_create1(0));
    int one = WORKS(eventfd(0, 0)), two = WORKS(eventfd(0, 0));
    struct epoll_event in = {.events = EPOLLIN, .data.fd = one};
    GIVES(epoll_ctl(epfd, EPOLL_CTL_ADD, one, &in), 0);
    GIVES(epoll_ctl(epfd, EPOLL_CTL_ADD, two, &in), 0);

    ARM("epoll_ctl:error=ENOENT:op=DEL:made:max=1;close:error=EIO:made:fd=4;close:error=EIO:made:fd=5");
    FAILS(epoll_ctl(epfd, EPOLL_CTL_DEL, one, NULL), ENOENT);
    LEDGER_KNOWS();
    FAILS(epoll_ctl(epfd, EPOLL_CTL_DEL, one, NULL), ENOENT);
    GIVES(epoll_ctl(epfd, EPOLL_CTL_ADD, one, &in), 0);
    /* The close of a descriptor that epoll knows, and the raw call. */
    FAILS(close(one), EIO);
    CHECK(!is_open(one));
    LEDGER_KNOWS();
    FAILS(syscall(SYS_close, two), EIO);
    CHECK(!is_open(two));
    LEDGER_KNOWS();
    /* The close of the instance itself, by a rule that a signal handler arms. */
    signal(SIGUSR1, handler);
    raise(SIGUSR1);
    FAILS(close(epfd), EIO);
    CHECK(!is_open(epfd));
    LEDGER_KNOWS();
    /* Closes it again, as programs do that conclude from the error that it is still open. */
    FAILS(close(epfd), EBADF);
    /* Without `made` the call is not made. */
    ARM("close:error=EIO:fd=3:max=1");
    int three = WORKS(eventfd(0, 0));
    FAILS(close(three), EIO);
    CHECK(is_open(three));
    GIVES(close(three), 0);
    /* With no free descriptor. */
    struct rlimit limit = {0, 0};
    int last = WORKS(dup(1));
    DISARM();
    ARM("close:error=any:made:fd=3");
    QUIETLY(setrlimit(RLIMIT_NOFILE, &(struct rlimit){0, 64}) == 0 && getrlimit(RLIMIT_NOFILE, &limit) == 0);
    errno = 0;
    CHECK(close(last) == -1 && errno != 0);
    CHECK(!is_open(last));
    DISARM();
    return checks_failed;
}
