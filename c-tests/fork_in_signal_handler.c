/* A signal handler that forks in the middle of whatever the program was doing with epoll. */
#include "check.h"

#include <sys/time.h>

#define SIGNALS 60

static volatile sig_atomic_t handled, bad;
static int epfd;

static int work(void) {
    int own = epoll_create1(EPOLL_CLOEXEC), fd = eventfd(1, EFD_CLOEXEC), copy = dup(fd);
    int fine = add(own, fd, EPOLLIN) == 0 && add(epfd, copy, EPOLLIN) == 0 && events_of(own, 0) == EPOLLIN;
    fine &= epoll_ctl(epfd, EPOLL_CTL_DEL, copy, NULL) == 0;
    fine &= close(fd) == 0 && close(own) == 0 && syscall(SYS_close, copy) == 0;
    return fine;
}

static void on_signal(int number) {
    int kept = errno;
    (void)number;
    pid_t child = fork();
    if (child == 0) {
        int fine = work() && work();
        fine &= close_range(3, ~0u, 0) == 0 && epoll_create(1) == 3 && dup2(3, 9) == 9;
        if (handled % 2) exit(fine ? 7 : 8);
        _exit(fine ? 7 : 8);
    }
    if (status_of(child) != 7) bad++;
    handled++;
    /* One at a time, so that the program makes progress between two, however long a child takes. */
    struct itimerval tick = {{0, 0}, {0, 1000}};
    setitimer(ITIMER_REAL, &tick, NULL);
    errno = kept;
}

int main(void) {
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    struct itimerval tick = {{0, 0}, {0, 1000}}, off = {{0, 0}, {0, 0}};
    epfd = epoll_create1(0);
    alarm(0);
    sigaction(SIGALRM, &action, NULL);
    int fine = work();
    setitimer(ITIMER_REAL, &tick, NULL);
    while (handled < SIGNALS) fine &= work();
    setitimer(ITIMER_REAL, &off, NULL);
    CHECK(fine);
    EQUAL(bad, 0);
    GIVES(events_of(epfd, 0), 0);
    LEDGER_AGREES();
    return verdict();
}
