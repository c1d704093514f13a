/* Requests figures again and again while threads dup, close, add and remove. Each request compares
 * the ledger with the kernel in the middle of these steps, when some step is always half done.
 * Neither is wrong then, and nothing may be corrected. What the library did miss (fclose) is
 * corrected, even while a thread waits. */
#include "check.h"

#define THREADS 3
#define QUESTIONS 300

static int shared, failed;
static volatile int over;

static void *work(void *argument) {
    int place = 300 + (int)(intptr_t)argument * 4, fine = 1;
    for (int round = 0; !over; round++) {
        int own = epoll_create1(EPOLL_CLOEXEC), fd = eventfd(1, EFD_CLOEXEC), copy = dup(fd);
        fine &= add(own, fd, EPOLLIN) == 0 && add(shared, copy, EPOLLIN) == 0;
        fine &= dup2(own, place) == place && fcntl(fd, F_DUPFD, place + 1) >= place + 1;
        if (round % 2) fine &= epoll_ctl(shared, EPOLL_CTL_DEL, copy, NULL) == 0;
        if (round % 3) fine &= dup2(copy, place) == place;
        fine &= close(own) == 0 && close(copy) == 0 && close(fd) == 0;
        fine &= close_range((unsigned)place, (unsigned)place + 3, 0) == 0;
    }
    if (!fine) __atomic_store_n(&failed, 1, __ATOMIC_RELAXED);
    return NULL;
}

static int ends[2];
static void *sleeper(void *unused) {
    char byte;
    QUIETLY(read(ends[0], &byte, 1) == 0);
    return unused;
}

static void close_out_of_sight(void) {
    pthread_t thread;
    int fd = WORKS(eventfd(1, 0));
    CHECK(pipe(ends) == 0);
    pthread_create(&thread, NULL, sleeper, NULL);
    GIVES(add(shared, fd, EPOLLIN), 0);
    LEDGER_KNOWS();
    FILE *file = fdopen(fd, "r+");
    CHECK(file != NULL && fclose(file) == 0);
    LEDGER_AGREES();
    GIVES(close(ends[1]), 0);
    pthread_join(thread, NULL);
    GIVES(close(ends[0]), 0);
}

int main(void) {
    ledger_stats stats = (ledger_stats)(uintptr_t)dlsym(RTLD_DEFAULT, "epollshim_stats");
    pthread_t threads[THREADS];
    long mended = 0;
    shared = WORKS(epoll_create1(0));
    for (intptr_t i = 0; i < THREADS; i++) pthread_create(&threads[i], NULL, work, (void *)i);
    for (int i = 0; i < QUESTIONS; i++) {
        struct epollshim_stats now;
        memset(&now, 0, sizeof now);
        if (stats != NULL) QUIETLY(stats(sizeof now, &now) == 0);
        mended += (long)(now.healed + now.unseen_instances + now.unseen_watches + now.lost);
        nap(1);
    }
    over = 1;
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    EQUAL(mended, 0);
    EQUAL(failed, 0);
    LEDGER_KNOWS();
    close_out_of_sight();
    GIVES(close(shared), 0);
    LEDGER_AGREES();
    return verdict();
}
