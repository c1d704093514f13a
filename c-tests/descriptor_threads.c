/* Threads that never call epoll dup and close descriptors that an instance watches. There are more
 * threads than processors. */
#include "check.h"

#define THREADS 12
#define ROUNDS 20000

static int epfd, fd, failed[THREADS];

static void *juggle(void *argument) {
    int number = (int)(intptr_t)argument, place = 200 + number * 4;
    for (int i = 0; i < ROUNDS; i++) {
        int instance = dup(epfd), watched = fcntl(fd, F_DUPFD_CLOEXEC, 3);
        failed[number] += instance < 0 || watched < 0;
        failed[number] += dup2(instance, place) != place || dup3(watched, place + 1, O_CLOEXEC) != place + 1;
        failed[number] += dup2(place, place + 1) != place + 1 || syscall(SYS_close, watched) != 0;
        failed[number] += close(instance) != 0 || close_range((unsigned)place, (unsigned)place + 1, 0) != 0;
    }
    return NULL;
}

/* A thread that only requests figures: the ledger is compared with the kernel while the other
 * threads change it. */
static volatile int over;
static void *ask(void *unused) {
    ledger_stats stats = (ledger_stats)(uintptr_t)dlsym(RTLD_DEFAULT, "epollshim_stats");
    while (!over) {
        struct epollshim_stats now;
        memset(&now, 0, sizeof now);
        if (stats != NULL) QUIETLY(stats(sizeof now, &now) == 0 && now.lost == 0);
        nap(1);
    }
    return unused;
}

static void juggle_all(void) {
    pthread_t threads[THREADS];
    for (intptr_t i = 0; i < THREADS; i++) pthread_create(&threads[i], NULL, juggle, (void *)i);
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    for (int i = 0; i < THREADS; i++) QUIETLY(failed[i] == 0);
}

int main(void) {
    pthread_t asking;
    epfd = WORKS(epoll_create1(0));
    fd = WORKS(eventfd(1, 0));
    GIVES(add(epfd, fd, EPOLLIN), 0);
    juggle_all();
    GIVES(events_of(epfd, 0), EPOLLIN);
    LEDGER_KNOWS();
    pthread_create(&asking, NULL, ask, NULL);
    juggle_all();
    over = 1;
    pthread_join(asking, NULL);
    LEDGER_AGREES();
    GIVES(close(fd), 0);
    GIVES(events_of(epfd, 0), 0);
    LEDGER_AGREES();
    GIVES(close(epfd), 0);
    LEDGER_AGREES();
    return verdict();
}
