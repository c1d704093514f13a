/* A signal handler forks, and the child returns from the handler into the interrupted call (fork is
 * async-signal-safe, POSIX.1-2008). The child finishes that call, makes another one, and ends.
 *
 * usage: fork_in_handler_goes_on CALLS CHILDREN
 *     CALLS: ctl, close, create, dup, poll, wait */
#include "../check.h"

#include <sys/time.h>

static volatile sig_atomic_t is_child, children, killed, failed;
static int epfd, spare, most;

static void arm(void) {
    struct itimerval soon = {{0, 0}, {0, 100 + rand() % 400}};
    setitimer(ITIMER_REAL, &soon, NULL);
}

static void on_signal(int number) {
    int kept = errno, status;
    pid_t child = fork();
    (void)number;
    if (child == 0) {
        is_child = 1;
        errno = kept;
        return;
    }
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {}
    if (WIFSIGNALED(status)) killed++;
    else if (WEXITSTATUS(status)) failed++;
    /* No signal after the last child: a child of the checks below would print them as well. */
    if (++children < most) arm();
    errno = kept;
}

/* One round. The child leaves it after the call in which it was created. */
#define STEP(call)                                                                                                     \
    do {                                                                                                               \
        call;                                                                                                          \
        if (is_child) return;                                                                                          \
    } while (0)

static void round_of(const char *calls) {
    struct epoll_event event = interest(EPOLLIN, 1);
    if (!strcmp(calls, "ctl")) {
        STEP(epoll_ctl(epfd, EPOLL_CTL_ADD, spare, &event));
        STEP(epoll_ctl(epfd, EPOLL_CTL_DEL, spare, NULL));
    } else if (!strcmp(calls, "close")) {
        int fd = eventfd(1, 0);
        STEP(epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &event));
        STEP(close(fd));
    } else if (!strcmp(calls, "create")) {
        int other = -1;
        STEP(other = epoll_create1(0));
        STEP(close(other));
    } else if (!strcmp(calls, "dup")) {
        int copy = -1;
        STEP(copy = dup(epfd));
        STEP(close(copy));
    } else {
        /* With a bound: a child that is forked before the real call begins is alone with it. */
        STEP(epoll_wait(epfd, &event, 1, !strcmp(calls, "poll") ? 0 : 20));
    }
}

int main(int count, char **arguments) {
    const char *calls = count > 1 ? arguments[1] : "ctl";
    int watched;
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    most = count > 2 ? atoi(arguments[2]) : 1000;
    epfd = WORKS(epoll_create1(0));
    spare = WORKS(eventfd(1, 0));
    watched = WORKS(eventfd(1, 0));
    add(epfd, watched, strcmp(calls, "wait") ? EPOLLIN : EPOLLPRI);
    sigaction(SIGALRM, &action, NULL);
    arm();
    while (children < most) {
        round_of(calls);
        if (is_child) {
            /* The instance also works in the child. */
            struct epoll_event event = interest(EPOLLIN, 2);
            int other = eventfd(1, 0);
            _exit(epoll_ctl(epfd, EPOLL_CTL_ADD, other, &event) != 0 || close(other) != 0);
        }
    }
    signal(SIGALRM, SIG_IGN);
    EQUAL(killed, 0);
    EQUAL(failed, 0);
    return verdict();
}
