/* The corner cases of strace's own tests of epoll_create, epoll_create1, epoll_ctl, epoll_wait,
 * epoll_pwait and epoll_pwait2, and of the flags of fcntl and dup3: bits, operations, flags and
 * sizes without a name, addresses that cannot be read. tests/log.rs compares the log with strace's
 * lines of the same run. This program checks no result: the log must have what the kernel
 * returned. */
#include "check.h"

#include <sys/mman.h>

static char *readable_to; /* The page after it is not mapped. */

static struct epoll_event *last_event(void) { return (struct epoll_event *)(readable_to - sizeof(struct epoll_event)); }

static void creations(void) {
    syscall(SYS_epoll_create, -1L);
    syscall(SYS_epoll_create, 0xdeadbeefffffffffUL);
    syscall(SYS_epoll_create, 0L);
    syscall(SYS_epoll_create1, -1L);
    syscall(SYS_epoll_create1, 1L | EPOLL_CLOEXEC);
    syscall(SYS_epoll_create1, (long)O_NONBLOCK);
    syscall(SYS_epoll_create1, 0xfacefeed00000000UL | EPOLL_CLOEXEC);
}

static void controls(void) {
    static const uint32_t masks[] = {0,          1,          EPOLLIN | EPOLLET, 0x20,       0x21,        0x800,
                                     0x1000,     0xff0800,   0x0fffd800,        0xffffffff, 0x80000000u, EPOLLMSG | EPOLLRDHUP,
                                     EPOLLWAKEUP | 0x4000, EPOLLEXCLUSIVE | EPOLLOUT};
    struct epoll_event *event = last_event();
    event->events = 0x20;
    event->data.u64 = 0xfacefeed12345678;
    epoll_ctl(-1, EPOLL_CTL_ADD, -2, event);
    epoll_ctl(-3, EPOLL_CTL_DEL, -4, event);
    epoll_ctl(-3, EPOLL_CTL_DEL, -4, NULL);
    epoll_ctl(-3, EPOLL_CTL_DEL, -4, (void *)readable_to);
    epoll_ctl(-5, EPOLL_CTL_MOD, -6, (void *)readable_to);
    epoll_ctl(-5, EPOLL_CTL_MOD, -6, (void *)((char *)event + 1));
    epoll_ctl(-5, EPOLL_CTL_MOD, -6, (void *)(uintptr_t)-1);
    static const int operations[] = {0, 4, 77, -1, INT32_MIN, INT32_MAX};
    for (unsigned i = 0; i < sizeof operations / sizeof *operations; i++) epoll_ctl(-7, operations[i], -8, event);
    for (unsigned i = 0; i < sizeof masks / sizeof *masks; i++) {
        event->events = masks[i];
        event->data.u64 = i % 2 ? UINT64_MAX - i : i;
        epoll_ctl(-1, EPOLL_CTL_ADD, -2, event);
    }
    syscall(SYS_epoll_ctl, 0xfacefeedffffffffUL, 0xfacefeed00000001UL, 0xdeadbeeffffffffeUL, event);
}

static void waits(int epfd) {
    static const unsigned long sizes[] = {0, 1, 4, 7, 9, 16, 128, 0xffffffff00000000, (unsigned long)-1};
    struct epoll_event *event = last_event();
    struct timespec none = {0, 0}, little = {0, 1}, wrong = {-1, -2};
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGUSR1), sigaddset(&signals, SIGCHLD);
    syscall(SYS_epoll_wait, -1L, event, 0xfacefeed00000001UL, -1L);
    volatile int less = -3;
    epoll_wait(-1, event, less, -2);
    epoll_wait(epfd, event, 1, 0);
    epoll_wait(epfd, (void *)readable_to, 1, 0);
    epoll_wait(epfd, (void *)((char *)event + 1), 2, 0);
    epoll_wait(epfd, event, 1, 0);
    epoll_pwait(epfd, event, 1, 0, NULL);
    epoll_pwait(epfd, event, 1, 0, &signals);
    epoll_pwait(epfd, event, 1, 0, (sigset_t *)readable_to);
    for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        syscall(SYS_epoll_pwait, epfd, event, 1L, 0L, &signals, sizes[i]);
        syscall(SYS_epoll_pwait, epfd, event, 1L, 0L, NULL, sizes[i]);
        syscall(SYS_epoll_pwait2, epfd, event, 1L, &none, &signals, sizes[i]);
    }
    syscall(SYS_epoll_pwait, epfd, event, 1L, 0L, &signals, 8L);
    epoll_pwait2(epfd, event, 1, &little, NULL);
    epoll_pwait2(epfd, event, 1, &wrong, &signals);
    epoll_pwait2(epfd, event, 1, (struct timespec *)readable_to, &signals);
    epoll_pwait2(epfd, event, 1, (struct timespec *)(readable_to - 1), (sigset_t *)(readable_to - 1));
    epoll_pwait2(-1, event, 1, &none, &signals);
}

static void descriptors(void) {
    int fd = open("/dev/null", O_RDWR | O_CLOEXEC), nameless = open(".", O_WRONLY | O_TMPFILE | O_NOATIME | O_SYNC, 0600);
    fcntl(fd, F_GETFD), fcntl(fd, F_GETFL), fcntl(-1, F_GETFL), fcntl(nameless, F_GETFL);
    fcntl(fd, F_SETFD, 0), fcntl(fd, F_GETFD), fcntl(fd, F_SETFD, 3), fcntl(fd, F_SETFD, 6);
    for (int bit = 0; bit < 32; bit++) {
        fcntl(-1, F_SETFL, 1u << bit);
        dup3(fd, -1, (int)(1u << bit));
    }
    fcntl(-1, F_SETFL, -1), fcntl(-1, F_SETFL, O_ACCMODE), fcntl(-1, F_SETFL, O_SYNC), fcntl(-1, F_SETFL, 0);
    fcntl(fd, F_SETFL, O_RDWR | O_APPEND | O_NONBLOCK), fcntl(fd, F_GETFL), fcntl(fd, F_SETFL, 0), fcntl(fd, F_GETFL);
    dup3(fd, -1, -1), dup3(fd, -1, O_SYNC | O_TMPFILE), dup3(fd, -1, O_CLOEXEC | O_NONBLOCK), dup3(fd, -1, O_ASYNC | O_DIRECTORY);
    fcntl(fd, F_DUPFD, -1), fcntl(fd, F_DUPFD_CLOEXEC, -7);
    fcntl(fd, F_SETSIG, SIGUSR1), fcntl(fd, F_GETSIG), fcntl(fd, F_SETSIG, 0), fcntl(-1, F_SETOWN, -5);
    fcntl(-1, F_SETLEASE, F_WRLCK), fcntl(-1, F_SETLEASE, F_UNLCK), fcntl(-1, F_SETLEASE, 7);
    fcntl(-1, F_GETPIPE_SZ), fcntl(-1, F_SETPIPE_SZ, 4096), fcntl(-1, F_GET_SEALS), fcntl(-1, F_ADD_SEALS, 0x27);
    fcntl(-1, F_SETLK, NULL), fcntl(-1, F_OFD_SETLKW, readable_to);
    fcntl(-1, 99, 5), fcntl(-1, -1, -1), fcntl(-1, 12345, 0);
    syscall(SYS_fcntl, -1L, 0xfacefeed00000004UL, 0xfacefeed00000800UL);
    close_range(9, 8, 0), close_range(~0u, 0, 6), close_range(9, 8, -1), close_range(9, 8, 8), close_range(9, 8, 10);
}

int main(int count, char **words) {
    char *pages = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    readable_to = pages + 4096;
    munmap(readable_to, 4096);
    if (count > 1 && strcmp(words[1], "descriptors") == 0) {
        descriptors();
        return verdict();
    }
    creations();
    controls();
    int epfd = epoll_create1(0), ready = eventfd(1, 0);
    epoll_ctl(epfd, EPOLL_CTL_ADD, ready, &(struct epoll_event){.events = EPOLLIN | 0x800, .data.u64 = UINT64_MAX});
    waits(epfd);
    return verdict();
}
