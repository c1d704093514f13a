/* More threads than processors. Each has descriptors and instances of its own, also watches all of
 * them in shared instances, and is interrupted by handlers that do the same. At the end the ledger
 * must have followed every step.
 *
 * A thread gets its next signal when it has handled the last one. Handlers that follow each other
 * without a pause would keep a thread from its work forever on a busy machine, whether it holds the
 * ledger's lock or not. */
#include "check.h"

#define THREADS 10
#define ROUNDS 6000

static int shared[2];
static volatile int failed, finished;
static volatile sig_atomic_t handled, handling[THREADS];
static __thread unsigned state;
static __thread int place;

static unsigned pick(unsigned bound) {
    state = state * 1103515245u + 12345u;
    return (state >> 16) % bound;
}

static void work(void) {
    int own[3], watched[4], fine = 1;
    for (int i = 0; i < 3; i++) own[i] = pick(2) ? epoll_create(1) : epoll_create1(EPOLL_CLOEXEC);
    for (int i = 0; i < 4; i++) watched[i] = i == 3 ? dup(watched[pick(3)]) : eventfd(1, EFD_CLOEXEC);
    for (int i = 0; i < 6; i++) {
        int instance = own[pick(3)], fd = watched[pick(4)];
        int added = add(instance, fd, EPOLLIN);
        fine &= added == 0 || errno == EEXIST;
        if (pick(3) == 0) fine &= epoll_ctl(instance, EPOLL_CTL_DEL, fd, NULL) == 0;
        if (pick(3) == 0) fine &= add(shared[pick(2)], fd, EPOLLIN | EPOLLET) == 0 || errno == EEXIST;
    }
    if (pick(2)) fine &= add(own[0], own[1], EPOLLIN) == 0;
    if (pick(2)) fine &= dup2(own[2], own[1]) == own[1];
    if (pick(2)) fine &= dup2(watched[3], watched[0]) == watched[0];
    if (pick(4) == 0) fine &= dup3(watched[1], own[2], O_CLOEXEC) == own[2];
    struct epoll_event got[4];
    fine &= epoll_wait(own[0], got, 4, 0) >= 0;
    for (int i = 0; i < 3; i++) fine &= close(own[i]) == 0;
    for (int i = 0; i < 4; i++) fine &= pick(2) ? close(watched[i]) == 0 : syscall(SYS_close, watched[i]) == 0;
    if (!fine) failed = 1;
}

static void on_signal(int number) {
    int kept = errno;
    (void)number;
    work();
    handled++;
    handling[place] = 0;
    errno = kept;
}

static void *thread_of(void *seed) {
    state = (unsigned)(intptr_t)seed;
    place = (int)(intptr_t)seed - 1;
    for (int i = 0; i < ROUNDS; i++) work();
    __sync_fetch_and_add(&finished, 1);
    while (finished < THREADS + 1) nap(1);
    return NULL;
}

int main(void) {
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigaction(SIGUSR1, &action, NULL);
    shared[0] = WORKS(epoll_create1(0));
    shared[1] = WORKS(epoll_create1(0));
    work();
    for (int signals = 0; signals < 2; signals++) {
        pthread_t threads[THREADS];
        finished = 0;
        for (intptr_t i = 0; i < THREADS; i++) pthread_create(&threads[i], NULL, thread_of, (void *)(i + 1));
        while (finished < THREADS) {
            for (int i = 0; i < THREADS && signals; i++)
                if (!handling[i]) {
                    handling[i] = 1;
                    pthread_kill(threads[i], SIGUSR1);
                }
            nap(2);
        }
        finished = THREADS + 1;
        for (int i = 0; i < THREADS; i++) {
            pthread_join(threads[i], NULL);
            handling[i] = 0;
        }
        EQUAL(failed, 0);
        GIVES(events_of(shared[0], 0), 0);
        LEDGER_KNOWS();
    }
    CHECK(handled > 0);
    return verdict();
}
