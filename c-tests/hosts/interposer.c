/* A library that interposes on some of the hooked functions, each by another kind of symbol: weak,
 * protected, chosen at load (IFUNC), in two versions, and as two names of one function. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

#define RAW(number, ...) ((int)syscall(number, __VA_ARGS__))

__attribute__((weak)) int epoll_ctl(int epfd, int op, int fd, struct epoll_event *event) {
    return RAW(SYS_epoll_ctl, epfd, op, fd, event);
}
__attribute__((visibility("protected"))) int epoll_create1(int flags) { return RAW(SYS_epoll_create1, flags); }
int epoll_wait(int epfd, struct epoll_event *events, int max, int timeout) {
    return RAW(SYS_epoll_pwait, epfd, events, max, timeout, NULL, 8);
}

static int plain_dup(int fd) { return RAW(SYS_dup, fd); }
static int (*choose_dup(void))(int) { return plain_dup; }
int dup(int fd) __attribute__((ifunc("choose_dup")));

int old_close(int fd);
int old_close(int fd) { return RAW(SYS_close, fd); }
int new_close(int fd);
int new_close(int fd) { return RAW(SYS_close, fd); }
__asm__(".symver old_close, close@INTERPOSER_1");
__asm__(".symver new_close, close@@INTERPOSER_2");

/* Only an old version: a look-up without a version does not find it. */
int old_pipe(int ends[2]);
int old_pipe(int ends[2]) { return RAW(SYS_pipe2, ends, 0); }
__asm__(".symver old_pipe, pipe@INTERPOSER_1");

int __open_2(const char *path, int flags) { return RAW(SYS_open, path, flags); }
int __open64_2(const char *path, int flags) __attribute__((alias("__open_2")));

/* Not for others. */
__attribute__((visibility("hidden"), used)) int socket(int domain, int type, int protocol) {
    return RAW(SYS_socket, domain, type, protocol);
}
