/* Included before a test that is compiled on another host (-include). If the C library there lacks
 * a function, this makes it by system call, as a program of that host would. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <features.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#ifdef __GLIBC__
#define LACKS(major, minor) !__GLIBC_PREREQ(major, minor)
#else
/* musl, up to 1.2.5. */
#define LACKS(major, minor) 1
#define fcntl64 fcntl
#define open64 open
#define __close close
#define __dup2 dup2
#define __fcntl fcntl
#define __open open
#define __pipe pipe
static inline int __open_2(const char *path, int flags) { return open(path, flags); }
static inline int __openat_2(int directory, const char *path, int flags) { return openat(directory, path, flags); }
#endif

/* The number is the same on every processor (Linux 5.9). */
#ifndef SYS_close_range
#define SYS_close_range 436
#endif
#ifndef SYS_epoll_pwait2
#define SYS_epoll_pwait2 441
#endif
#ifndef CLOSE_RANGE_UNSHARE
#define CLOSE_RANGE_UNSHARE 2
#endif
#ifndef CLOSE_RANGE_CLOEXEC
#define CLOSE_RANGE_CLOEXEC 4
#endif

#if LACKS(2, 34)
static inline int close_range(unsigned first, unsigned last, int flags) {
    return (int)syscall(SYS_close_range, first, last, flags);
}
static inline void closefrom(int first) {
    int before = errno;
    syscall(SYS_close_range, first < 0 ? 0 : first, ~0U, 0);
    errno = before;
}
static inline int execveat(int fd, const char *path, char *const argv[], char *const envp[], int flags) {
    return (int)syscall(SYS_execveat, fd, path, argv, envp, flags);
}
/* Nearest to it. */
#define posix_spawn_file_actions_addclosefrom_np posix_spawn_file_actions_addclose
#endif

#if LACKS(2, 35)
#define EPOLL_PWAIT2_IS_NO_CANCELLATION_POINT
/* _NSIG / 8: the size of the kernel's signal set. */
static inline int epoll_pwait2(int epfd, struct epoll_event *events, int most, const struct timespec *timeout, const sigset_t *mask) {
    return (int)syscall(SYS_epoll_pwait2, epfd, events, most, timeout, mask, 8);
}
#endif

#if LACKS(2, 30) && !defined(__GLIBC__)
static inline int tgkill(pid_t process, pid_t thread, int signal) { return (int)syscall(SYS_tgkill, process, thread, signal); }
#endif
