/* Every epoll call, its errors, every event bit, masks, timeouts and more events than a line
 * prints, one after another in one thread. tests/log.rs compares the log with strace's own lines of
 * the same run. `log_walk descriptors` continues with the calls that create and close
 * descriptors. */
#include "check.h"

#include <sys/time.h>

static int eventfd_of(unsigned value) { return eventfd(value, EFD_CLOEXEC | EFD_NONBLOCK); }

static void creations(void) {
    close(epoll_create(1));
    close(epoll_create(1024));
    close(epoll_create1(0));
    close(epoll_create1(EPOLL_CLOEXEC));
    FAILS(epoll_create(0), EINVAL);
    FAILS(epoll_create(-5), EINVAL);
    FAILS(epoll_create1(1), EINVAL);
    FAILS(epoll_create1(EPOLL_CLOEXEC | 3), EINVAL);
    FAILS(epoll_create1(-1), EINVAL);
    close((int)syscall(SYS_epoll_create, 7));
    close((int)syscall(SYS_epoll_create1, EPOLL_CLOEXEC));
}

static void full_table(void) {
    struct rlimit limit, none = {0, 0};
    getrlimit(RLIMIT_NOFILE, &limit);
    none.rlim_max = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &none);
    FAILS(epoll_create1(0), EMFILE);
    FAILS(epoll_create(3), EMFILE);
    setrlimit(RLIMIT_NOFILE, &limit);
}

static const uint32_t bits[] = {EPOLLIN,     EPOLLPRI,    EPOLLOUT, EPOLLERR,    EPOLLHUP,       EPOLLRDNORM,
                                EPOLLRDBAND, EPOLLWRNORM, EPOLLWRBAND, EPOLLMSG, EPOLLRDHUP,     EPOLLEXCLUSIVE,
                                EPOLLWAKEUP, EPOLLONESHOT, EPOLLET,  0,          EPOLLIN | 0x20, 0x00ff0820};

static void controls(int epfd) {
    int fd = eventfd_of(0), other = epoll_create1(EPOLL_CLOEXEC), file = open("/proc/self/status", O_RDONLY);
    struct epoll_event event = interest(EPOLLIN, 0x1122334455667788);
    for (unsigned i = 0; i < sizeof bits / sizeof *bits; i++) {
        event = interest(bits[i], (uint64_t)-1 - i);
        GIVES(epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &event), 0);
        epoll_ctl(epfd, EPOLL_CTL_MOD, fd, &event); /* EPOLLEXCLUSIVE: EINVAL */
        GIVES(epoll_ctl(epfd, EPOLL_CTL_DEL, fd, i % 2 ? &event : NULL), 0);
    }
    event = interest(EPOLLIN | EPOLLPRI | EPOLLRDHUP | EPOLLONESHOT | EPOLLET, 7);
    GIVES(epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &event), 0);
    FAILS(epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &event), EEXIST);
    GIVES(epoll_ctl(epfd, EPOLL_CTL_DEL, fd, &event), 0);
    FAILS(epoll_ctl(epfd, EPOLL_CTL_DEL, fd, NULL), ENOENT);
    FAILS(epoll_ctl(epfd, EPOLL_CTL_MOD, fd, &event), ENOENT);
    FAILS(epoll_ctl(epfd, EPOLL_CTL_ADD, file, &event), EPERM);
    FAILS(epoll_ctl(epfd, EPOLL_CTL_ADD, -1, &event), EBADF);
    FAILS(epoll_ctl(epfd, EPOLL_CTL_ADD, 9999, &event), EBADF);
    FAILS(epoll_ctl(-1, EPOLL_CTL_ADD, fd, &event), EBADF);
    FAILS(epoll_ctl(fd, EPOLL_CTL_ADD, file, &event), EPERM);
    FAILS(epoll_ctl(fd, EPOLL_CTL_ADD, epfd, &event), EINVAL);
    FAILS(epoll_ctl(epfd, EPOLL_CTL_ADD, epfd, &event), EINVAL);
    FAILS(epoll_ctl(epfd, 0, fd, &event), EINVAL);
    FAILS(epoll_ctl(epfd, 99, fd, &event), EINVAL);
    FAILS(epoll_ctl(epfd, -7, fd, &event), EINVAL);
    FAILS(epoll_ctl(epfd, EPOLL_CTL_ADD, fd, NULL), EFAULT);
    FAILS(epoll_ctl(epfd, EPOLL_CTL_MOD, fd, nowhere()), EFAULT);
    FAILS(epoll_ctl(epfd, EPOLL_CTL_ADD, fd, (struct epoll_event *)((char *)nowhere() - 4)), EFAULT);
    FAILS(epoll_ctl(epfd, EPOLL_CTL_DEL, fd, nowhere()), ENOENT);
    FAILS(epoll_ctl(epfd, EPOLL_CTL_ADD, fd, (struct epoll_event *)(uintptr_t)0xffff800000000000), EFAULT);
    event = interest(EPOLLIN, 3);
    GIVES(epoll_ctl(epfd, EPOLL_CTL_ADD, other, &event), 0);
    FAILS(epoll_ctl(other, EPOLL_CTL_ADD, epfd, &event), ELOOP);
    GIVES(epoll_ctl(epfd, EPOLL_CTL_DEL, other, &event), 0);
    EQUAL(syscall(SYS_epoll_ctl, epfd, EPOLL_CTL_ADD, fd, &event), 0);
    EQUAL(syscall(SYS_epoll_ctl, epfd, EPOLL_CTL_ADD, fd, &event), -1);
    EQUAL(syscall(SYS_epoll_ctl, epfd, EPOLL_CTL_DEL, fd, 0L), 0);
    close(fd), close(other), close(file);
}

/* Every bit that a wait can return. */
static void delivered(int epfd) {
    struct epoll_event got[8];
    int pair[2], pipes[2];
    EQUAL(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    EQUAL(pipe(pipes), 0);
    GIVES(add(epfd, pair[0], EPOLLIN | EPOLLOUT | EPOLLPRI | EPOLLRDHUP | EPOLLRDNORM | EPOLLWRNORM | EPOLLWRBAND), 0);
    GIVES(epoll_wait(epfd, got, 8, 0), 1);
    EQUAL(write(pair[1], "x", 1), 1);
    GIVES(epoll_wait(epfd, got, 8, -1), 1);
    EQUAL(shutdown(pair[1], SHUT_WR), 0);
    GIVES(epoll_wait(epfd, got, 8, 1000), 1);
    close(pair[1]);
    GIVES(epoll_wait(epfd, got, 8, 1000), 1);
    close(pair[0]);
    GIVES(add(epfd, pipes[1], EPOLLOUT | EPOLLET), 0);
    close(pipes[0]);
    GIVES(epoll_wait(epfd, got, 8, 1000), 1);
    close(pipes[1]);
    GIVES(epoll_wait(epfd, got, 8, 0), 0);
}

static void waits(int epfd) {
    struct epoll_event got[40], *volatile null = NULL;
    volatile int less = -1;
    int fds[20];
    struct timespec zero = {0, 0}, some = {0, 2000000}, bad = {0, 2000000000}, long_ago = {-1, 0};
    sigset_t none, some_signals, all, most;
    sigemptyset(&none), sigemptyset(&some_signals), sigfillset(&all), sigfillset(&most);
    sigaddset(&some_signals, SIGINT), sigaddset(&some_signals, SIGUSR2), sigaddset(&some_signals, SIGRTMIN),
        sigaddset(&some_signals, SIGRTMIN + 3), sigaddset(&some_signals, SIGRTMAX);
    sigdelset(&most, SIGTERM), sigdelset(&most, SIGHUP);
    GIVES(epoll_wait(epfd, got, 1, 0), 0);
    GIVES(epoll_wait(epfd, got, 3, 2), 0);
    GIVES(epoll_pwait(epfd, got, 3, 2, NULL), 0);
    GIVES(epoll_pwait(epfd, got, 3, 0, &none), 0);
    GIVES(epoll_pwait(epfd, got, 3, 0, &some_signals), 0);
    GIVES(epoll_pwait(epfd, got, 3, 0, &all), 0);
    GIVES(epoll_pwait(epfd, got, 3, 0, &most), 0);
    GIVES(epoll_pwait2(epfd, got, 3, &zero, NULL), 0);
    GIVES(epoll_pwait2(epfd, got, 3, &some, &some_signals), 0);
    FAILS(epoll_pwait2(epfd, got, 3, &bad, NULL), EINVAL);
    FAILS(epoll_pwait2(epfd, got, 3, &long_ago, NULL), EINVAL);
    FAILS(epoll_pwait2(epfd, got, 3, nowhere(), NULL), EFAULT);
    FAILS(epoll_pwait(epfd, got, 3, 0, nowhere()), EFAULT);
    FAILS(epoll_wait(epfd, got, 0, 0), EINVAL);
    FAILS(epoll_wait(epfd, got, less, 0), EINVAL);
    FAILS(epoll_wait(-1, got, 1, 0), EBADF);
    FAILS(epoll_wait(9999, null, 1, 0), EBADF);
    FAILS(epoll_wait(0, got, 1, 0), EINVAL);
    for (int i = 0; i < 20; i++) {
        fds[i] = eventfd_of(i != 0);
        GIVES(add(epfd, fds[i], i % 2 ? EPOLLIN | EPOLLOUT : EPOLLIN), 0);
    }
    FAILS(epoll_wait(epfd, nowhere(), 1, 0), EFAULT);
    FAILS(epoll_wait(epfd, (void *)(uintptr_t)0xffff800000000000, 1, 0), EFAULT);
    GIVES(epoll_wait(epfd, got, 1, -1), 1);
    GIVES(epoll_wait(epfd, got, 15, -1), 15);
    GIVES(epoll_wait(epfd, got, 16, -1), 16);
    GIVES(epoll_wait(epfd, got, 17, -1), 17);
    GIVES(epoll_wait(epfd, got, 40, -1), 19);
    GIVES(epoll_pwait(epfd, got, 40, -1, &none), 19);
    GIVES(epoll_pwait2(epfd, got, 40, NULL, NULL), 19);
    GIVES(epoll_pwait2(epfd, got, 2, NULL, &some_signals), 2);
    GIVES(syscall(SYS_epoll_wait, epfd, got, 2, 5), 2);
    GIVES(syscall(SYS_epoll_pwait, epfd, got, 2, 5, NULL, 8L), 2);
    GIVES(syscall(SYS_epoll_pwait, epfd, got, 2, 5, &some_signals, 8L), 2);
    GIVES(syscall(SYS_epoll_pwait2, epfd, got, 2, &some, &some_signals, 8L), 2);
    GIVES(syscall(SYS_epoll_pwait2, epfd, got, 2, NULL, NULL, 8L), 2);
    for (int i = 0; i < 20; i++) close(fds[i]);
}

static void on_signal(int number) { (void)number; }

static void interrupted(int epfd) {
    struct epoll_event got;
    struct sigaction action = {.sa_handler = on_signal};
    struct itimerval soon = {{0, 20000}, {0, 20000}}, never = {{0, 0}, {0, 0}};
    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &soon, NULL);
    FAILS(epoll_wait(epfd, &got, 1, -1), EINTR);
    FAILS(epoll_pwait2(epfd, &got, 1, NULL, NULL), EINTR);
    setitimer(ITIMER_REAL, &never, NULL);
    signal(SIGALRM, SIG_DFL);
    alarm(60);
}

static void descriptors(void) {
    int fd = eventfd_of(0);
    EQUAL(dup(fd), fd + 1);
    EQUAL(dup2(fd, 40), 40);
    EQUAL(dup2(fd, fd), fd);
    EQUAL(dup3(fd, 41, O_CLOEXEC), 41);
    EQUAL(dup3(fd, 42, 0), 42);
    FAILS(dup3(fd, fd, 0), EINVAL);
    FAILS(dup3(fd, 43, 1), EINVAL);
    FAILS(dup(-1), EBADF);
    FAILS(dup2(-3, 5), EBADF);
    FAILS(dup2(fd, -1), EBADF);
    EQUAL(fcntl(fd, F_DUPFD, 50), 50);
    EQUAL(fcntl(fd, F_DUPFD_CLOEXEC, 51), 51);
    EQUAL(fcntl(fd, F_GETFD), FD_CLOEXEC);
    EQUAL(fcntl(fd, F_SETFD, 0), 0);
    EQUAL(fcntl(fd, F_SETFD, FD_CLOEXEC), 0);
    FAILS(fcntl(-1, F_GETFD), EBADF);
    FAILS(close(-1), EBADF);
    FAILS(close(7777), EBADF);
    GIVES(close(40), 0);
    EQUAL(syscall(SYS_close, 41), 0);
    EQUAL(syscall(SYS_dup2, fd, 60), 60);
    EQUAL(close_range(50, 60, CLOSE_RANGE_CLOEXEC), 0);
    EQUAL(close_range(50, ~0u, 0), 0);
    FAILS(close_range(5, 4, 0), EINVAL);
    FAILS(close_range(5, 6, 0x80), EINVAL);
}

int main(int count, char **words) {
    if (count > 1 && strcmp(words[1], "descriptors") == 0) {
        descriptors();
        return verdict();
    }
    creations();
    full_table();
    int epfd = epoll_create1(EPOLL_CLOEXEC);
    controls(epfd);
    delivered(epfd);
    waits(epfd);
    interrupted(epfd);
    return verdict();
}
