/* epoll_ctl: ADD, MOD and DEL, and every errno that needs no exhausted machine. */
#include "check.h"

static int ctl(int epfd, int op, int fd, uint32_t events) {
    struct epoll_event event = interest(events, 0x123456789abcdef0u);
    return epoll_ctl(epfd, op, fd, &event);
}

int main(void) {
    int epfd = WORKS(epoll_create1(EPOLL_CLOEXEC)), other = WORKS(epoll_create1(EPOLL_CLOEXEC));
    int fd = eventfd(1, EFD_CLOEXEC), pair[2];
    struct epoll_event event = interest(EPOLLIN, 42);
    EQUAL(pipe2(pair, O_CLOEXEC), 0);

    GIVES(epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &event), 0);
    FAILS(epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &event), EEXIST);
    GIVES(epoll_ctl(other, EPOLL_CTL_ADD, fd, &event), 0);
    EQUAL(events_of(epfd, 0), EPOLLIN);
    GIVES(ctl(epfd, EPOLL_CTL_MOD, fd, EPOLLOUT), 0);
    EQUAL(events_of(epfd, 0), EPOLLOUT);
    EQUAL(events_of(other, 0), EPOLLIN);
    GIVES(ctl(epfd, EPOLL_CTL_MOD, fd, 0), 0);
    EQUAL(events_of(epfd, 0), 0);
    LEDGER_KNOWS();
    GIVES(epoll_ctl(epfd, EPOLL_CTL_DEL, fd, NULL), 0);
    FAILS(epoll_ctl(epfd, EPOLL_CTL_DEL, fd, NULL), ENOENT);
    FAILS(epoll_ctl(epfd, EPOLL_CTL_MOD, fd, &event), ENOENT);
    GIVES(epoll_ctl(other, EPOLL_CTL_DEL, fd, nowhere()), 0);
    LEDGER_KNOWS();

    FAILS(epoll_ctl(-1, EPOLL_CTL_ADD, fd, &event), EBADF);
    FAILS(epoll_ctl(9999, EPOLL_CTL_ADD, fd, &event), EBADF);
    FAILS(epoll_ctl(INT32_MAX, EPOLL_CTL_MOD, fd, &event), EBADF);
    FAILS(epoll_ctl(INT32_MIN, EPOLL_CTL_DEL, fd, &event), EBADF);
    FAILS(epoll_ctl(epfd, EPOLL_CTL_ADD, -1, &event), EBADF);
    FAILS(epoll_ctl(epfd, EPOLL_CTL_MOD, 9999, &event), EBADF);
    FAILS(epoll_ctl(epfd, EPOLL_CTL_DEL, INT32_MAX, &event), EBADF);
    FAILS(epoll_ctl(epfd, EPOLL_CTL_ADD, epfd, &event), EINVAL);
    FAILS(epoll_ctl(fd, EPOLL_CTL_ADD, pair[0], &event), EINVAL);
    FAILS(epoll_ctl(epfd, 0, fd, &event), EINVAL);
    FAILS(epoll_ctl(epfd, 4, fd, &event), EINVAL);
    FAILS(epoll_ctl(epfd, -1, fd, &event), EINVAL);
    FAILS(epoll_ctl(epfd, EPOLL_CTL_ADD, fd, NULL), EFAULT);
    FAILS(epoll_ctl(epfd, EPOLL_CTL_ADD, fd, nowhere()), EFAULT);
    FAILS(epoll_ctl(epfd, EPOLL_CTL_MOD, fd, nowhere()), EFAULT);
    FAILS(epoll_ctl(9999, EPOLL_CTL_ADD, fd, nowhere()), EFAULT);

    /* EPOLLEXCLUSIVE may be set only by ADD, with few other bits, and not on another epoll
     * instance. */
    GIVES(ctl(epfd, EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLEXCLUSIVE), 0);
    FAILS(ctl(epfd, EPOLL_CTL_MOD, fd, EPOLLIN), EINVAL);
    FAILS(ctl(epfd, EPOLL_CTL_MOD, fd, EPOLLIN | EPOLLEXCLUSIVE), EINVAL);
    GIVES(ctl(epfd, EPOLL_CTL_DEL, fd, 0), 0);
    FAILS(ctl(epfd, EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLEXCLUSIVE | EPOLLONESHOT), EINVAL);
    FAILS(ctl(epfd, EPOLL_CTL_ADD, other, EPOLLIN | EPOLLEXCLUSIVE), EINVAL);

    char path[] = "/tmp/epollshim-ctl-XXXXXX";
    int file = mkstemp(path), directory = open("/", O_RDONLY | O_DIRECTORY), null = open("/dev/null", O_RDWR);
    CHECK(file >= 0 && unlink(path) == 0);
    FAILS(epoll_ctl(epfd, EPOLL_CTL_ADD, file, &event), EPERM);
    FAILS(epoll_ctl(epfd, EPOLL_CTL_ADD, directory, &event), EPERM);
    FAILS(epoll_ctl(epfd, EPOLL_CTL_ADD, null, &event), EPERM);
    FAILS(epoll_ctl(epfd, EPOLL_CTL_MOD, file, &event), EPERM);
    FAILS(epoll_ctl(epfd, EPOLL_CTL_DEL, file, NULL), EPERM);
    LEDGER_KNOWS();

    /* A loop of two instances; then a chain one deeper than the kernel allows. */
    GIVES(epoll_ctl(epfd, EPOLL_CTL_ADD, other, &event), 0);
    FAILS(epoll_ctl(other, EPOLL_CTL_ADD, epfd, &event), ELOOP);
    int chain[9], depth = 0;
    for (int i = 0; i < 9; i++) chain[i] = epoll_create1(0);
    GIVES(epoll_ctl(chain[0], EPOLL_CTL_ADD, fd, &event), 0);
    errno = SENTINEL;
    while (depth < 8 && epoll_ctl(chain[depth + 1], EPOLL_CTL_ADD, chain[depth], &event) == 0) depth++;
    CHECK(depth >= 3 && depth < 8 && (errno == ELOOP || errno == EINVAL));
    say("     a chain of instances may be %d deep: %s\n", depth, strerror(errno));
    LEDGER_KNOWS();
    for (int i = 0; i < 9; i++) GIVES(close(chain[i]), 0);

    /* Bits without a meaning are accepted, and no event returns them. */
    GIVES(ctl(epfd, EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLWAKEUP | 1u << 20), 0);
    GIVES(close(fd), 0);
    FAILS(epoll_ctl(epfd, EPOLL_CTL_DEL, fd, NULL), EBADF);
    GIVES(close(other), 0);
    LEDGER_KNOWS();
    return verdict();
}
