/* A race that every proxy has: one thread ADDs a descriptor with ONESHOT, and another thread gets
 * its event and closes it before epoll_ctl has returned in the first. At the end no descriptor and
 * no interest is left. */
#include "check.h"

#define PAIRS 4
#define ROUNDS 4000
/* The most pairs that wait for a handler. With this bound a limit of 1,024 descriptors is enough,
 * however slow the handlers are. */
#define AHEAD 200

static int epfd;
static volatile int added, handled, failed;

static void *adder(void *unused) {
    for (int i = 0; i < ROUNDS; i++) {
        int pair[2];
        while (added - handled >= AHEAD && !failed) sched_yield();
        __sync_fetch_and_add(&added, 1);
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0 || write(pair[1], "x", 1) != 1) failed = 1;
        struct epoll_event event = interest(EPOLLIN | EPOLLONESHOT, (uint64_t)pair[1] << 32 | (uint64_t)pair[0]);
        /* From now on both descriptors belong to the thread that gets the event. */
        if (epoll_ctl(epfd, EPOLL_CTL_ADD, pair[0], &event) != 0) failed = 2;
    }
    return unused;
}

static void *handler(void *way) {
    while (handled < PAIRS * ROUNDS && !failed) {
        struct epoll_event got[4];
        int count = epoll_wait(epfd, got, 4, 10);
        if (count < 0) failed = 3;
        for (int i = 0; i < count; i++) {
            int first = (int)(got[i].data.u64 & 0xffffffff), second = (int)(got[i].data.u64 >> 32);
            char byte;
            if (read(first, &byte, 1) != 1) failed = 4;
            if (way == (void *)1 && epoll_ctl(epfd, EPOLL_CTL_DEL, first, NULL) != 0) failed = 5;
            if (way == (void *)2 && (dup2(second, first) != first)) failed = 6;
            if (way == (void *)3 ? syscall(SYS_close, first) != 0 : close(first) != 0) failed = 7;
            if (close(second) != 0) failed = 8;
            __sync_fetch_and_add(&handled, 1);
        }
    }
    return NULL;
}

int main(void) {
    pthread_t threads[2 * PAIRS];
    epfd = WORKS(epoll_create1(0));
    LEDGER_KNOWS();
    for (intptr_t i = 0; i < PAIRS; i++) {
        pthread_create(&threads[2 * i], NULL, adder, NULL);
        pthread_create(&threads[2 * i + 1], NULL, handler, (void *)i);
    }
    for (int i = 0; i < 2 * PAIRS; i++) pthread_join(threads[i], NULL);
    EQUAL(failed, 0);
    EQUAL(handled, PAIRS * ROUNDS);
    GIVES(events_of(epfd, 0), 0);
    LEDGER_AGREES();
    int first = WORKS(dup(0));
    GIVES(close(first), 0);
    GIVES(close(epfd), 0);
    LEDGER_AGREES();
    return verdict();
}
