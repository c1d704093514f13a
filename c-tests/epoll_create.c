/* epoll_create and epoll_create1: what they return, with which flags, and each errno that needs no
 * exhausted machine. */
#include "check.h"

static int is_epoll(int fd) {
    char path[64], target[64] = "";
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(path, target, sizeof target - 1);
    return length > 0 && strcmp(target, "anon_inode:[eventpoll]") == 0;
}

int main(void) {
    static const int sizes[] = {1, 2, 1024, INT32_MAX};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        int fd = WORKS(epoll_create(sizes[i]));
        CHECK(is_epoll(fd));
        EQUAL(fcntl(fd, F_GETFD), 0);
        GIVES(close(fd), 0);
    }
    FAILS(epoll_create(0), EINVAL);
    FAILS(epoll_create(-1), EINVAL);
    FAILS(epoll_create(INT32_MIN), EINVAL);

    int plain = WORKS(epoll_create1(0));
    EQUAL(fcntl(plain, F_GETFD), 0);
    int cloexec = WORKS(epoll_create1(EPOLL_CLOEXEC));
    EQUAL(fcntl(cloexec, F_GETFD), FD_CLOEXEC);
    CHECK(is_epoll(plain) && is_epoll(cloexec) && plain != cloexec);
    FAILS(epoll_create1(1), EINVAL);
    FAILS(epoll_create1(-1), EINVAL);
    FAILS(epoll_create1(EPOLL_CLOEXEC | 1), EINVAL);
    FAILS(epoll_create1(EPOLL_CLOEXEC << 1), EINVAL);
    LEDGER_KNOWS();

    struct rlimit before, tight;
    EQUAL(getrlimit(RLIMIT_NOFILE, &before), 0);
    tight = before;
    tight.rlim_cur = (rlim_t)cloexec + 1;
    EQUAL(setrlimit(RLIMIT_NOFILE, &tight), 0);
    FAILS(epoll_create(1), EMFILE);
    FAILS(epoll_create1(0), EMFILE);
    FAILS(epoll_create1(EPOLL_CLOEXEC), EMFILE);
    FAILS(epoll_create(0), EINVAL);
    FAILS(epoll_create1(1), EINVAL);
    EQUAL(setrlimit(RLIMIT_NOFILE, &before), 0);
    GIVES(epoll_create1(EPOLL_CLOEXEC), cloexec + 1);
    GIVES(epoll_create(7), cloexec + 2);

    for (int fd = plain; fd <= cloexec + 2; fd++) GIVES(close(fd), 0);
    FAILS(close(plain), EBADF);
    GIVES(epoll_create(1), plain);
    LEDGER_KNOWS();
    return verdict();
}
