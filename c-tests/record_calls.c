/* Calls from threads, from signal handlers that run between any two instructions, and from forked
 * children, each counted by the program itself.
 *
 * record_calls COUNTS THREADS ROUNDS
 *     COUNTS: a file to which each process appends a line, its pid and how many calls it made.
 *     ROUNDS: of each thread; 0: until standard input ends
 * record_calls COUNTS THREADS ROUNDS N
 *     N such threads one after another, THREADS at a time, and no children */
#include "check.h"

#include <sys/time.h>

static const char *counts;
static volatile long calls;
static volatile int stop;

static void counted(long more) { __atomic_add_fetch(&calls, more, __ATOMIC_SEQ_CST); }

static void on_alarm(int number) {
    int kept = errno;
    struct epoll_event event;
    (void)number;
    int epfd = epoll_create1(EPOLL_CLOEXEC);
    epoll_wait(epfd, &event, 1, 0);
    epoll_ctl(epfd, EPOLL_CTL_DEL, 0, NULL);
    close(epfd);
    counted(3);
    errno = kept;
}

static void rounds(long number) {
    struct epoll_event event = interest(EPOLLIN, 7);
    struct timespec soon = {0, 1000};
    int epfd = epoll_create1(EPOLL_CLOEXEC), fd = eventfd(1, EFD_CLOEXEC);
    counted(1);
    for (long i = 0; number ? i < number : !stop; i++) {
        epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &event);
        epoll_wait(epfd, &event, 1, (int)(i % 3) - 1);
        epoll_ctl(epfd, EPOLL_CTL_MOD, i % 7 ? fd : -1, &event);
        epoll_ctl(epfd, EPOLL_CTL_DEL, fd, NULL);
        epoll_pwait2(epfd, &event, 1, &soon, NULL);
        counted(5);
    }
    close(fd);
    close(epfd);
}

/* All concurrent threads have made a call before the first one continues and ends. */
static pthread_barrier_t start;

static void *thread(void *number) {
    int epfd = epoll_create1(EPOLL_CLOEXEC);
    counted(1);
    pthread_barrier_wait(&start);
    close(epfd);
    rounds((long)number);
    return NULL;
}

static void tell(void) {
    char line[64];
    int file = open(counts, O_WRONLY | O_APPEND | O_CREAT, 0600);
    int length = snprintf(line, sizeof line, "%d %ld\n", (int)getpid(), calls);
    QUIETLY(write(file, line, (size_t)length) == length);
    close(file);
}

static void timer(long microseconds) {
    struct itimerval tick = {{0, microseconds}, {0, microseconds}};
    setitimer(ITIMER_REAL, &tick, NULL);
}

static void child(long number) {
    calls = 0;
    timer(700);
    rounds(number);
    timer(0);
    tell();
    _exit(checks_failed);
}

int main(int count, char **arguments) {
    if (count < 4) return 2;
    counts = arguments[1];
    long wide = atol(arguments[2]), number = atol(arguments[3]), all = count > 4 ? atol(arguments[4]) : wide;
    struct sigaction action = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};
    sigset_t alarms;
    sigemptyset(&alarms);
    sigaddset(&alarms, SIGALRM);
    alarm(0);
    sigaction(SIGALRM, &action, NULL);
    timer(500);
    pthread_t *threads = calloc((size_t)wide, sizeof *threads);
    pthread_attr_t small;
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 64 << 10);
    pthread_barrier_init(&start, NULL, (unsigned)wide);
    for (long begun = 0; begun < all; begun += wide) {
        for (long i = 0; i < wide; i++) QUIETLY(pthread_create(&threads[i], &small, thread, (void *)number) == 0);
        /* The handlers run in the threads, not in this one. */
        pthread_sigmask(SIG_BLOCK, &alarms, NULL);
        if (number == 0) {
            char end;
            while (read(0, &end, 1) != 0) continue;
            stop = 1;
        }
        for (long i = 0; i < wide; i++) pthread_join(threads[i], NULL);
        pthread_sigmask(SIG_UNBLOCK, &alarms, NULL);
    }
    for (int i = 0; count == 4 && number && i < 3; i++) {
        pid_t forked = fork();
        if (forked == 0) child(number / 2);
        QUIETLY(status_of(forked) == 0);
    }
    timer(0);
    tell();
    return checks_failed;
}
