/* syscall(): every number that the library knows, and others, which must pass unchanged with all
 * six arguments. */
#include "check.h"

#include <linux/close_range.h>
#include <linux/futex.h>
#include <sys/uio.h>

static volatile long minus_one = -1;

static void epoll_calls(void) {
    struct epoll_event event = interest(EPOLLIN, 5), got[4];
    struct timespec zero = {0, 0}, odd = {0, -1};
    sigset_t none;
    sigemptyset(&none);
#ifdef SYS_epoll_create
    int first = (int)GIVES(syscall(SYS_epoll_create, 16), 3);
    FAILS(syscall(SYS_epoll_create, 0), EINVAL);
#else
    int first = WORKS(syscall(SYS_epoll_create1, 0));
#endif
    int epfd = WORKS(syscall(SYS_epoll_create1, EPOLL_CLOEXEC)), fd = eventfd(1, 0);
    FAILS(syscall(SYS_epoll_create1, 1), EINVAL);
    GIVES(syscall(SYS_epoll_ctl, epfd, EPOLL_CTL_ADD, fd, &event), 0);
    FAILS(syscall(SYS_epoll_ctl, epfd, EPOLL_CTL_ADD, fd, &event), EEXIST);
    FAILS(syscall(SYS_epoll_ctl, first, EPOLL_CTL_MOD, fd, &event), ENOENT);
    FAILS(syscall(SYS_epoll_ctl, first, EPOLL_CTL_DEL, fd, NULL), ENOENT);
    FAILS(syscall(SYS_epoll_ctl, 9999, EPOLL_CTL_ADD, fd, &event), EBADF);
    FAILS(syscall(SYS_epoll_ctl, epfd, EPOLL_CTL_ADD, fd, nowhere()), EFAULT);
    GIVES(syscall(SYS_epoll_ctl, first, EPOLL_CTL_ADD, epfd, &event), 0);
    FAILS(syscall(SYS_epoll_ctl, epfd, EPOLL_CTL_ADD, first, &event), ELOOP);
    GIVES(syscall(SYS_epoll_ctl, epfd, EPOLL_CTL_MOD, fd, &event), 0);
    LEDGER_KNOWS();
#ifdef SYS_epoll_wait
    GIVES(syscall(SYS_epoll_wait, epfd, got, 4, -1), 1);
    FAILS(syscall(SYS_epoll_wait, epfd, got, 0, 0), EINVAL);
    FAILS(syscall(SYS_epoll_wait, 9999, got, 4, 0), EBADF);
    FAILS(syscall(SYS_epoll_wait, epfd, nowhere(), 4, 0), EFAULT);
#endif
    GIVES(syscall(SYS_epoll_pwait, epfd, got, 4, 0, NULL, 8), 1);
    GIVES(syscall(SYS_epoll_pwait, first, got, 4, 0, &none, 8), 1);
    FAILS(syscall(SYS_epoll_pwait, epfd, got, 4, 0, &none, 4), EINVAL);
    FAILS(syscall(SYS_epoll_pwait, 9999, got, 4, 0, NULL, 8), EBADF);
#ifdef SYS_epoll_pwait2
    GIVES(syscall(SYS_epoll_pwait2, epfd, got, 4, &zero, NULL, 8), 1);
    GIVES(syscall(SYS_epoll_pwait2, epfd, got, 4, NULL, &none, 8), 1);
    FAILS(syscall(SYS_epoll_pwait2, epfd, got, 4, &odd, NULL, 8), EINVAL);
    FAILS(syscall(SYS_epoll_pwait2, epfd, got, 4, &zero, &none, 9), EINVAL);
#endif
    EQUAL(got[0].data.u64, 5);
    GIVES(syscall(SYS_epoll_ctl, epfd, EPOLL_CTL_DEL, fd, NULL), 0);
    LEDGER_KNOWS();
    GIVES(syscall(SYS_close, fd), 0);
    GIVES(syscall(SYS_close, epfd), 0);
    GIVES(syscall(SYS_close, first), 0);
    FAILS(syscall(SYS_close, first), EBADF);
    FAILS(syscall(SYS_close, minus_one), EBADF);
    LEDGER_KNOWS();
}

static void descriptor_calls(void) {
    int epfd = WORKS(epoll_create1(0)), fd = eventfd(1, 0);
    GIVES(add(epfd, fd, EPOLLIN), 0);
    GIVES(syscall(SYS_dup, epfd), fd + 1);
    FAILS(syscall(SYS_dup, 9999), EBADF);
#ifdef SYS_dup2
    GIVES(syscall(SYS_dup2, epfd, 40), 40);
    GIVES(syscall(SYS_dup2, 40, 40), 40);
    FAILS(syscall(SYS_dup2, 41, 41), EBADF);
    FAILS(syscall(SYS_dup2, epfd, minus_one), EBADF);
#endif
    GIVES(syscall(SYS_dup3, fd, 42, O_CLOEXEC), 42);
    FAILS(syscall(SYS_dup3, fd, fd, 0), EINVAL);
    GIVES(syscall(SYS_fcntl, 42, F_GETFD), FD_CLOEXEC);
    GIVES(syscall(SYS_fcntl, epfd, F_DUPFD, 43L), 43);
    GIVES(syscall(SYS_fcntl, epfd, F_DUPFD_CLOEXEC, 43L), 44);
    GIVES(syscall(SYS_fcntl, 44, F_SETFD, 0L), 0);
    FAILS(syscall(SYS_fcntl, 9999, F_DUPFD, 0L), EBADF);
    LEDGER_KNOWS();
#ifdef SYS_close_range
    FAILS(syscall(SYS_close_range, 10, 9, 0), EINVAL);
    GIVES(syscall(SYS_close_range, 40, 44, CLOSE_RANGE_CLOEXEC), 0);
    GIVES(syscall(SYS_fcntl, 44, F_GETFD), FD_CLOEXEC);
    GIVES(syscall(SYS_close_range, (long)epfd, ~0u, 0), 0);
    LEDGER_KNOWS();
    FAILS(syscall(SYS_close, epfd), EBADF);
#endif
    GIVES(epoll_create1(0), epfd);
    GIVES(close(epfd), 0);
}

static void other_numbers(void) {
    EQUAL(syscall(SYS_getpid) == getpid(), 1);
    EQUAL(syscall(SYS_gettid) == gettid(), 1);
    FAILS(syscall(100000), ENOSYS);
    FAILS(syscall(minus_one, 1, 2, 3, 4, 5, 6), ENOSYS);
    FAILS(syscall(SYS_read, 9999, NULL, 0), EBADF);

    char path[] = "/tmp/epollshim-raw-XXXXXX", other[] = "/tmp/epollshim-raw-XXXXXX", text[16] = "";
    int file = mkstemp(path), copy = mkstemp(other);
    CHECK(file >= 0 && copy >= 0 && unlink(path) == 0 && unlink(other) == 0);
    /* Results and arguments of 64 bits. */
    GIVES(syscall(SYS_lseek, file, 5L << 32, SEEK_SET), 5L << 32);
    GIVES(syscall(SYS_ftruncate, file, 8192L), 0);
    EQUAL(pwrite(file, "0123456789", 10, 4096), 10);
    /* Six arguments each. */
    char *map = (char *)syscall(SYS_mmap, NULL, 4096L, (long)PROT_READ, (long)MAP_SHARED, (long)file, 4096L);
    CHECK((long)map > 0 && memcmp(map, "0123456789", 10) == 0);
    GIVES(syscall(SYS_munmap, map, 4096L), 0);
    FAILS(syscall(SYS_mmap, NULL, 0L, (long)PROT_READ, (long)MAP_SHARED, (long)file, 0L), EINVAL);
    FAILS(syscall(SYS_mmap, NULL, 4096L, (long)PROT_READ, (long)MAP_SHARED, (long)file, 1L), EINVAL);
    struct iovec part = {text, 4};
    GIVES(syscall(SYS_preadv2, file, &part, 1L, 4099L, 0L, 0L), 4);
    EQUAL(memcmp(text, "3456", 4), 0);
    FAILS(syscall(SYS_preadv2, file, &part, 1L, 4099L, 0L, 1L << 30), EOPNOTSUPP);
    off64_t from = 4098, to = 3;
    GIVES(syscall(SYS_copy_file_range, file, &from, copy, &to, 5L, 0L), 5);
    FAILS(syscall(SYS_copy_file_range, file, &from, copy, &to, 5L, 77L), EINVAL);
    CHECK(pread(copy, text, 16, 0) == 8 && memcmp(text + 3, "23456", 5) == 0 && from == 4103 && to == 8);
    int word = 3;
    FAILS(syscall(SYS_futex, &word, (long)FUTEX_WAIT, 4L, NULL, NULL, 0L), EAGAIN);
    GIVES(syscall(SYS_futex, &word, (long)FUTEX_WAKE_BITSET, 1L, NULL, NULL, 0xffffffffL), 0);
    FAILS(syscall(SYS_futex, &word, (long)FUTEX_WAKE_BITSET, 1L, NULL, NULL, 0L), EINVAL);
    struct timespec blink = {0, 1000};
    FAILS(syscall(SYS_pselect6, 0L, NULL, NULL, NULL, &blink, nowhere()), EFAULT);
    GIVES(syscall(SYS_pselect6, 0L, NULL, NULL, NULL, &blink, NULL), 0);
    GIVES(close(file), 0);
    GIVES(close(copy), 0);
}

int main(void) {
    epoll_calls();
    descriptor_calls();
    other_numbers();
    return verdict();
}
