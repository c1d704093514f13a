/* fork while eight threads change the ledger: the child gets a copy in the middle of a change, and
 * must work nevertheless. */
#include "check.h"

#define THREADS 8
#define FORKS 60

static volatile int stop;
static int shared;

static int work(void) {
    int epfd = epoll_create1(EPOLL_CLOEXEC), fd = eventfd(1, EFD_CLOEXEC), copy = dup(fd), twin = dup(epfd);
    int fine = epfd >= 0 && fd >= 0 && copy >= 0 && twin >= 0;
    fine &= add(epfd, fd, EPOLLIN) == 0 && add(twin, copy, EPOLLIN) == 0 && add(shared, copy, EPOLLIN) == 0;
    fine &= close(epfd) == 0 && events_of(twin, 0) == EPOLLIN;
    fine &= epoll_ctl(twin, EPOLL_CTL_DEL, fd, NULL) == 0 && close(fd) == 0 && close(copy) == 0 && close(twin) == 0;
    return fine;
}

static void *hammer(void *failed) {
    while (!stop) {
        if (!work()) *(int *)failed = 1;
    }
    return NULL;
}

int main(void) {
    pthread_t threads[THREADS];
    int failed[THREADS] = {0}, good = 0;
    shared = epoll_create1(0);
    for (int i = 0; i < THREADS; i++) pthread_create(&threads[i], NULL, hammer, &failed[i]);
    for (int i = 0; i < FORKS; i++) {
        pid_t child = fork();
        if (child == 0) {
            int fine = 1;
            for (int round = 0; round < 20; round++) fine &= work();
            if (i % 3 == 0) fine &= close_range(3, ~0u, 0) == 0 && epoll_create1(0) == 3;
            /* Strictly, the child of a process with threads may not call exit(), but many do. */
            if (i % 2) exit(fine ? 7 : 8);
            _exit(fine ? 7 : 8);
        }
        good += status_of(child) == 7;
    }
    stop = 1;
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        EQUAL(failed[i], 0);
    }
    EQUAL(good, FORKS);
    GIVES(events_of(shared, 0), 0);
    LEDGER_AGREES();
    return verdict();
}
