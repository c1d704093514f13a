/* A signal handler requests the library's figures while the program is anywhere in its own calls.
 * Nothing may be lost, invented or "corrected" by that.
 *
 * usage: asked_in_handler HANDLERS THREADS [stack]
 *     stack: the handler has a separate stack (sigaltstack) */
#include "../check.h"

#include <sys/time.h>

#include "epollshim.h"

#pragma weak epollshim_stats
#pragma weak epollshim_report

static volatile sig_atomic_t handlers, stop;
static int epfd, null_device;

static void arm(void) {
    struct itimerval soon = {{0, 0}, {0, 100 + rand() % 400}};
    setitimer(ITIMER_REAL, &soon, NULL);
}

static void on_signal(int number) {
    int kept = errno;
    struct epollshim_stats figures;
    (void)number;
    if (epollshim_stats) epollshim_stats(sizeof figures, &figures);
    if (epollshim_report && handlers % 16 == 0) epollshim_report(null_device);
    handlers++;
    arm();
    errno = kept;
}

static void *add_and_delete(void *unused) {
    struct epoll_event event = interest(EPOLLIN, 1);
    int fd = eventfd(1, 0);
    while (!stop) {
        epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &event);
        epoll_ctl(epfd, EPOLL_CTL_DEL, fd, NULL);
    }
    close(fd);
    return unused;
}

static void round_of_calls(int fd) {
    struct epoll_event event = interest(EPOLLIN, 1);
    int other, copy, watched;
    epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &event);
    epoll_ctl(epfd, EPOLL_CTL_DEL, fd, NULL);
    other = epoll_create1(0);
    copy = dup(other);
    watched = eventfd(1, 0);
    epoll_ctl(copy, EPOLL_CTL_ADD, watched, &event);
    epoll_wait(other, &event, 1, 0);
    close(watched);
    close(other);
    close(copy);
}

int main(int count, char **arguments) {
    int most = count > 1 ? atoi(arguments[1]) : 2000, threads = count > 2 ? atoi(arguments[2]) : 0;
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    pthread_t thread[8];
    sigset_t alarms;
    struct epollshim_stats figures;
    int fd, kept;
    static char stack[256 * 1024];
    if (count > 3) {
        stack_t other = {.ss_sp = stack, .ss_size = sizeof stack};
        sigaltstack(&other, NULL);
        action.sa_flags |= SA_ONSTACK;
    }
    memset(&figures, 0, sizeof figures);
    figures.instances_live = figures.watches_live = figures.reconciled = 1;
    null_device = open("/dev/null", O_WRONLY | O_CLOEXEC);
    epfd = WORKS(epoll_create1(0));
    fd = WORKS(eventfd(1, 0));
    kept = WORKS(eventfd(1, 0));
    add(epfd, kept, EPOLLIN);
    sigemptyset(&alarms);
    sigaddset(&alarms, SIGALRM);
    pthread_sigmask(SIG_BLOCK, &alarms, NULL);
    for (int i = 0; i < threads && i < 8; i++) pthread_create(&thread[i], NULL, add_and_delete, NULL);
    pthread_sigmask(SIG_UNBLOCK, &alarms, NULL);
    sigaction(SIGALRM, &action, NULL);
    arm();
    while (handlers < most) round_of_calls(fd);
    signal(SIGALRM, SIG_IGN);
    stop = 1;
    for (int i = 0; i < threads && i < 8; i++) pthread_join(thread[i], NULL);
    if (epollshim_stats) epollshim_stats(sizeof figures, &figures);
    EQUAL((long)figures.lost, 0);
    EQUAL((long)figures.healed, 0);
    EQUAL((long)figures.unseen_instances, 0);
    EQUAL((long)figures.unseen_watches, 0);
    EQUAL((long)figures.instances_live, 1);
    EQUAL((long)figures.watches_live, 1);
    EQUAL((long)figures.reconciled, 1);
    return verdict();
}
