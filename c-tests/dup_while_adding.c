/* One thread dups a descriptor while another adds it to its first instance. First no instance
 * watches it, then one does. The dup must neither hide that nor be forgotten. */
#include "check.h"
#include <linux/futex.h>
#include <sys/syscall.h>

#define ROUNDS 30000

static int epfd, fd, copy, turn, sleepers;
static volatile int failed;

/* Waits for a turn. It sleeps only where the other thread has no processor: a wakeup in each round
 * would keep the two calls apart. */
static void wait_for(int number) {
    for (int tries = 1;; tries++) {
        int now = __atomic_load_n(&turn, __ATOMIC_ACQUIRE);
        if (now == number) return;
        if (tries % 20000) continue;
        __atomic_fetch_add(&sleepers, 1, __ATOMIC_SEQ_CST);
        syscall(SYS_futex, &turn, FUTEX_WAIT_PRIVATE, now, NULL, NULL, 0);
        __atomic_fetch_sub(&sleepers, 1, __ATOMIC_SEQ_CST);
    }
}

static void give(int number) {
    __atomic_store_n(&turn, number, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&sleepers, __ATOMIC_SEQ_CST)) syscall(SYS_futex, &turn, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

static void *duplicate(void *unused) {
    for (int round = 1; round <= ROUNDS; round++) {
        wait_for(2 * round - 1);
        copy = dup(fd);
        if (round % 2) failed += close(copy) != 0;
        give(2 * round);
    }
    return unused;
}

int main(void) {
    pthread_t thread;
    epfd = WORKS(epoll_create1(0));
    pthread_create(&thread, NULL, duplicate, NULL);
    for (int round = 1; round <= ROUNDS; round++) {
        fd = eventfd(1, 0);
        give(2 * round - 1);
        for (volatile int wait = round % 200; wait > 0; wait--) continue;
        failed += add(epfd, fd, EPOLLIN) != 0;
        wait_for(2 * round);
        failed += close(fd) != 0;
        if (round % 2 == 0) {
            /* The dup keeps it alive. */
            failed += events_of(epfd, 0) != EPOLLIN || close(copy) != 0;
        }
        failed += events_of(epfd, 0) != 0;
    }
    pthread_join(thread, NULL);
    EQUAL(failed, 0);
    LEDGER_KNOWS();
    return verdict();
}
