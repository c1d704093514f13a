/* Makes known numbers of epoll calls. 500 times a second, by an absolute clock, it makes one
 * epoll_ctl that fails (EEXIST), one epoll_wait that returns an event, and one that returns none.
 * The file that it is given contains the number of rounds so far, as a word. Signals are counted in
 * the next word. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static volatile uint64_t *told;

static void count_signal(int number) {
    (void)number;
    told[1]++;
}

static void need(int is_so, const char *what) {
    if (!is_so) {
        perror(what);
        exit(1);
    }
}

int main(int argc, char **argv) {
    need(argc == 2, "usage: steady FILE");
    int file = open(argv[1], O_RDWR | O_CREAT, 0600);
    need(file >= 0 && ftruncate(file, 4096) == 0, argv[1]);
    told = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    need(told != MAP_FAILED, "mmap");
    for (int number = 1; number < 32; number++) {
        /* Those of the test itself, and those that an error would send. */
        if (number != SIGTERM && number != SIGSEGV && number != SIGBUS) {
            signal(number, count_signal);
        }
    }
    int ep = epoll_create1(0), quiet = epoll_create1(0), ready = eventfd(1, 0);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = ready};
    need(epoll_ctl(ep, EPOLL_CTL_ADD, ready, &event) == 0, "EPOLL_CTL_ADD");
    struct timespec next;
    clock_gettime(CLOCK_MONOTONIC, &next);
    for (;;) {
        next.tv_nsec += 2000000;
        if (next.tv_nsec >= 1000000000) {
            next.tv_nsec -= 1000000000;
            next.tv_sec++;
        }
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &next, NULL);
        need(epoll_ctl(ep, EPOLL_CTL_ADD, ready, &event) == -1 && errno == EEXIST, "the same again");
        need(epoll_wait(ep, &event, 1, 1000) == 1, "a wait with an event");
        need(epoll_wait(quiet, &event, 1, 0) == 0, "a wait without");
        told[0]++;
    }
}
