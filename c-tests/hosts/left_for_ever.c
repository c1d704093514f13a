/* Hooks are left by siglongjmp or by pthread_exit in a handler, and never resumed; then the program
 * continues. From then on its calls must cost what they cost before, and nothing may be lost.
 *
 * usage: left_for_ever WAY JUMPS [MEASUREMENTS]
 *     jump     the handler jumps
 *     calls    the handler makes calls of its own, then jumps
 *     deeper   as jump, and the program continues far deeper on its stack
 *     exit     threads end in the handler
 *
 * On stderr: the processor time of a round afterwards, in nanoseconds, the least of several
 * measurements. */
#include "../check.h"

#include <setjmp.h>
#include <sys/time.h>

#include "epollshim.h"

#pragma weak epollshim_stats

#define ROUNDS 500
#define MEASUREMENTS 40
#define FEW 64

static __thread sigjmp_buf back;
static __thread volatile sig_atomic_t armed;
static volatile sig_atomic_t jumps;
static int epfd;
static const char *way;

static void on_signal(int number) {
    struct epoll_event event = interest(EPOLLIN, 1);
    (void)number;
    if (!armed) return;
    if (!strcmp(way, "calls")) {
        int fd = eventfd(0, 0);
        epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &event);
        close(fd);
    }
    armed = 0;
    jumps++;
    if (!strcmp(way, "exit")) pthread_exit(NULL);
    siglongjmp(back, 1);
}

static void busy(int instance) {
    struct epoll_event event = interest(EPOLLIN, 1);
    int fd = eventfd(1, 0), copy;
    epoll_ctl(instance, EPOLL_CTL_ADD, fd, &event);
    copy = dup(fd);
    close(fd);
    close(copy);
}

static void *thread(void *unused) {
    int instance = epoll_create1(0);
    armed = 1;
    for (;;) busy(instance);
    return unused;
}

static void round_of_calls(void) {
    struct epoll_event event = interest(EPOLLIN, 1);
    int instance = epoll_create1(0), fd = eventfd(1, 0);
    epoll_ctl(instance, EPOLL_CTL_ADD, fd, &event);
    close(fd);
    close(instance);
}

static long processor_time(void) {
    struct timespec time;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return time.tv_sec * 1000000000L + time.tv_nsec;
}

static void __attribute__((noinline)) afterwards(int measurements) {
    volatile char deep[64 * 1024];
    long least = 0;
    deep[0] = deep[sizeof deep - 1] = 0;
    for (int i = 0; i < measurements; i++) {
        long begin = processor_time(), each;
        for (int round = 0; round < ROUNDS; round++) round_of_calls();
        each = (processor_time() - begin) / ROUNDS;
        if (i == 0 || each < least) least = each;
    }
    fprintf(stderr, "%ld\n", least);
}

int main(int count, char **arguments) {
    int most = count > 2 ? atoi(arguments[2]) : 500;
    struct sigaction action = {.sa_handler = on_signal};
    struct itimerval tick = {{0, 211}, {0, 211}}, off = {{0, 0}, {0, 0}};
    struct epollshim_stats figures;
    volatile int instance;
    way = count > 1 ? arguments[1] : "jump";
    memset(&figures, 0, sizeof figures);
    epfd = WORKS(epoll_create1(0));
    instance = WORKS(epoll_create1(0));
    sigaction(SIGALRM, &action, NULL);
    if (!strcmp(way, "exit")) {
        while (jumps < most) {
            pthread_t started[4];
            for (int i = 0; i < 4; i++) pthread_create(&started[i], NULL, thread, NULL);
            for (int i = 0; i < 4; i++) {
                struct timespec pause = {0, 1000L * (rand() % 200)};
                nanosleep(&pause, NULL);
                pthread_kill(started[i], SIGALRM);
            }
            for (int i = 0; i < 4; i++) {
                /* A thread that was not armed yet has ignored its signal. */
                struct timespec pause = {0, 1000000};
                while (pthread_tryjoin_np(started[i], NULL) != 0) {
                    pthread_kill(started[i], SIGALRM);
                    nanosleep(&pause, NULL);
                }
            }
            close_range((unsigned)instance + 1, ~0u, 0);
        }
    } else {
        setitimer(ITIMER_REAL, &tick, NULL);
        while (jumps < most) {
            if (sigsetjmp(back, 1) == 0) {
                armed = 1;
                for (int i = 0; i < 300; i++) busy(instance);
                armed = 0;
            }
            /* What the jump left open. */
            if (jumps % FEW == 0) close_range((unsigned)instance + 1, ~0u, 0);
        }
        setitimer(ITIMER_REAL, &off, NULL);
        armed = 0;
    }
    close_range((unsigned)instance + 1, ~0u, 0);
    afterwards(count > 3 ? atoi(arguments[3]) : MEASUREMENTS);
    if (epollshim_stats) epollshim_stats(sizeof figures, &figures);
    EQUAL((long)figures.lost, 0);
    LEDGER_AGREES();
    return verdict();
}
