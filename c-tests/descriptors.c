/* close, dup, dup2, dup3, fcntl, close_range, closefrom and glibc's aliases, applied to epoll
 * descriptors among others. */
#include "check.h"

#include <linux/close_range.h>

extern int __close(int);
extern int __dup2(int, int);
extern int __fcntl(int, int, ...);
typedef int (*fcntl_like)(int, int, ...);

static volatile int none = -1;

static void births_and_deaths(void) {
    int epfd = WORKS(epoll_create1(0)), fd = WORKS(eventfd(0, 0));
    GIVES(add(epfd, fd, EPOLLIN), 0);
    GIVES(dup(epfd), fd + 1);
    GIVES(dup(fd), fd + 2);
    FAILS(dup(none), EBADF);
    FAILS(dup(9999), EBADF);
    GIVES(close(fd + 1), 0);
    FAILS(close(fd + 1), EBADF);
    FAILS(close(none), EBADF);
    FAILS(close(INT32_MAX), EBADF);
    LEDGER_KNOWS();

    GIVES(dup2(epfd, epfd), epfd);
    FAILS(dup2(50, 50), EBADF);
    FAILS(dup2(none, none), EBADF);
    GIVES(dup2(epfd, 50), 50);
    GIVES(dup2(fd, 50), 50);
    GIVES(dup2(epfd, fd + 2), fd + 2);
    FAILS(dup2(9999, epfd), EBADF);
    FAILS(dup2(epfd, none), EBADF);
    FAILS(dup2(epfd, INT32_MAX), EBADF);
    LEDGER_KNOWS();

    GIVES(dup3(epfd, 51, O_CLOEXEC), 51);
    EQUAL(fcntl(51, F_GETFD), FD_CLOEXEC);
    GIVES(dup3(fd, 51, 0), 51);
    EQUAL(fcntl(51, F_GETFD), 0);
    FAILS(dup3(epfd, epfd, 0), EINVAL);
    FAILS(dup3(epfd, epfd, O_CLOEXEC), EINVAL);
    FAILS(dup3(epfd, 52, O_NONBLOCK), EINVAL);
    FAILS(dup3(9999, 52, 0), EBADF);
    FAILS(dup3(epfd, none, 0), EBADF);
    FAILS(fcntl(52, F_GETFD), EBADF);
    LEDGER_KNOWS();

    struct rlimit before, tight;
    getrlimit(RLIMIT_NOFILE, &before);
    tight = before;
    tight.rlim_cur = (rlim_t)fd + 1;
    GIVES(close(fd + 2), 0);
    EQUAL(setrlimit(RLIMIT_NOFILE, &tight), 0);
    FAILS(dup(epfd), EMFILE);
    FAILS(fcntl(epfd, F_DUPFD, 0), EMFILE);
    FAILS(fcntl(epfd, F_DUPFD_CLOEXEC, 0), EMFILE);
    FAILS(fcntl(epfd, F_DUPFD, fd + 1), EINVAL);
    FAILS(dup2(epfd, fd + 1), EBADF);
    FAILS(dup3(epfd, fd + 1, 0), EBADF);
    EQUAL(setrlimit(RLIMIT_NOFILE, &before), 0);
    GIVES(__dup2(epfd, 60), 60);
    GIVES(__dup2(60, 60), 60);
    FAILS(__dup2(9999, 60), EBADF);
    GIVES(__fcntl(60, F_DUPFD, 70), 70);
    GIVES(__fcntl(60, F_GETFD), 0);
    FAILS(__fcntl(9999, F_GETFD), EBADF);
    GIVES(__close(60), 0);
    FAILS(__close(60), EBADF);
    GIVES(events_of(70, 0), 0);
    EQUAL(eventfd_write(fd, 1), 0);
    GIVES(events_of(70, 0), EPOLLIN);
    GIVES(close(epfd), 0);
    GIVES(events_of(70, 0), EPOLLIN);
    LEDGER_KNOWS();
    GIVES(close(70), 0);
    GIVES(close(fd), 0);
    GIVES(close(50), 0);
    GIVES(close(51), 0);
    LEDGER_KNOWS();
}

static void every_fcntl(const char *name, fcntl_like call) {
    say("     %s\n", name);
    int epfd = WORKS(epoll_create1(0));
    GIVES(call(epfd, F_DUPFD, 0), epfd + 1);
    GIVES(call(epfd, F_DUPFD, 40), 40);
    GIVES(call(epfd, F_DUPFD_CLOEXEC, 40), 41);
    GIVES(call(41, F_GETFD), FD_CLOEXEC);
    GIVES(call(41, F_SETFD, 0), 0);
    GIVES(call(41, F_GETFD), 0);
    GIVES(call(40, F_SETFD, FD_CLOEXEC), 0);
    GIVES(call(40, F_GETFD), FD_CLOEXEC);
    GIVES(call(epfd, F_GETFL) & O_ACCMODE, O_RDWR);
    GIVES(call(epfd, F_SETFL, O_NONBLOCK), 0);
    GIVES(call(40, F_GETFL) & O_NONBLOCK, O_NONBLOCK);
    FAILS(call(epfd, F_DUPFD, none), EINVAL);
    FAILS(call(epfd, F_DUPFD_CLOEXEC, INT32_MAX), EINVAL);
    FAILS(call(9999, F_DUPFD, 0), EBADF);
    FAILS(call(9999, F_SETFD, 0), EBADF);
    FAILS(call(epfd, 0x7777, 0), EINVAL);
    FAILS(call(epfd, F_SETLKW, nowhere()), EFAULT);

    char path[] = "/tmp/epollshim-lock-XXXXXX";
    int file = mkstemp(path), ends[2], held[2];
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 10}, asked = lock;
    CHECK(file >= 0 && unlink(path) == 0 && pipe(ends) == 0 && pipe(held) == 0);
    GIVES(call(file, F_GETLK, &asked), 0);
    EQUAL(asked.l_type, F_UNLCK);
    GIVES(call(file, F_SETLK, &lock), 0);
    pid_t child = fork();
    if (child == 0) {
        /* The child sees its parent's lock, fails to take it, reads the next bytes, and waits until
         * it is released. */
        asked = lock;
        GIVES(call(file, F_GETLK, &asked), 0);
        EQUAL(asked.l_pid == getppid(), 1);
        FAILS(call(file, F_SETLK, &lock), EAGAIN);
        lock.l_start = 10;
        GIVES(call(file, F_SETLKW, &lock), 0);
        QUIETLY(write(held[1], "x", 1) == 1 && read(ends[0], &asked, 1) == 1);
        _exit(checks_failed);
    }
    QUIETLY(read(held[0], &asked, 1) == 1);
    lock.l_start = 10;
    FAILS(call(file, F_SETLK, &lock), EAGAIN);
    EQUAL(write(ends[1], "x", 1), 1);
    EQUAL(status_of(child), 0);
    GIVES(call(file, F_OFD_SETLK, &(struct flock){.l_type = F_RDLCK, .l_start = 50, .l_len = 1}), 0);
    GIVES(call(ends[0], F_SETPIPE_SZ, 4096), 4096);
    GIVES(call(ends[0], F_GETPIPE_SZ), 4096);
    GIVES(call(ends[0], F_SETOWN, getpid()), 0);
    EQUAL(call(ends[0], F_GETOWN) == getpid(), 1);
    GIVES(close_range((unsigned)epfd, ~0u, 0), 0);
    LEDGER_KNOWS();
}

static void ranges(void) {
    int epfd = WORKS(epoll_create1(0)), second = WORKS(epoll_create1(0)), fd = WORKS(eventfd(0, 0));
    GIVES(add(epfd, fd, EPOLLIN), 0);
    GIVES(dup2(epfd, 30), 30);
    GIVES(dup2(second, 31), 31);
    GIVES(dup2(fd, 32), 32);
    FAILS(close_range(10, 9, 0), EINVAL);
    FAILS(close_range(30, 32, 1), EINVAL);
    FAILS(close_range(30, 32, -1), EINVAL);
    FAILS(close_range(33, 32, (int)CLOSE_RANGE_CLOEXEC), EINVAL);
    LEDGER_KNOWS();
    GIVES(close_range(30, 31, CLOSE_RANGE_CLOEXEC), 0);
    EQUAL(fcntl(30, F_GETFD), FD_CLOEXEC);
    EQUAL(fcntl(32, F_GETFD), 0);
    GIVES(close_range((unsigned)second, (unsigned)second, 0), 0);
    FAILS(fcntl(second, F_GETFD), EBADF);
    GIVES(close_range((unsigned)fd, 30, CLOSE_RANGE_UNSHARE), 0);
    LEDGER_KNOWS();
    FAILS(close(30), EBADF);
    GIVES(close(31), 0);
    GIVES(close_range(100, ~0u, 0), 0);
    LEDGER_KNOWS();
    GIVES(events_of(epfd, 0), 0);
    EQUAL(eventfd_write(32, 1), 0);
    GIVES(events_of(epfd, 0), EPOLLIN);
    errno = SENTINEL;
    closefrom(32);
    EQUAL(errno, SENTINEL);
    FAILS(fcntl(32, F_GETFD), EBADF);
    GIVES(events_of(epfd, 0), 0);
    LEDGER_KNOWS();
    errno = SENTINEL;
    closefrom(-5 + epfd + 5);
    closefrom(100000);
    EQUAL(errno, SENTINEL);
    FAILS(fcntl(epfd, F_GETFD), EBADF);
    LEDGER_KNOWS();
    GIVES(epoll_create1(0), epfd);
    /* closefrom treats a negative lowfd as 0. It also closes standard output, so a child tries it
     * and reports by its status. */
    pid_t child = fork();
    if (child == 0) {
        closefrom(-1);
        _exit(fcntl(0, F_GETFD) == -1 && fcntl(1, F_GETFD) == -1 && fcntl(epfd, F_GETFD) == -1
              && epoll_create1(0) == 0 && dup(0) == 1 && close(1) == 0 ? 33 : 1);
    }
    EQUAL(status_of(child), 33);
    GIVES(events_of(epfd, 0), 0);
    LEDGER_KNOWS();
}

int main(void) {
    births_and_deaths();
    every_fcntl("fcntl", fcntl);
    every_fcntl("fcntl64", fcntl64);
    every_fcntl("__fcntl", __fcntl);
    ranges();
    return verdict();
}
