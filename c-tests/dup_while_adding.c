/* One thread dups a descriptor while another adds it to its first instance. First no instance
 * watches it, then one does. The dup must neither hide that nor be forgotten. */
#include "check.h"

#define ROUNDS 30000

static int epfd, fd, copy;
static volatile int turn, failed;

static void *duplicate(void *unused) {
    for (int round = 1; round <= ROUNDS; round++) {
        while (__atomic_load_n(&turn, __ATOMIC_ACQUIRE) != 2 * round - 1) continue;
        copy = dup(fd);
        if (round % 2) failed += close(copy) != 0;
        __atomic_store_n(&turn, 2 * round, __ATOMIC_RELEASE);
    }
    return unused;
}

int main(void) {
    pthread_t thread;
    epfd = WORKS(epoll_create1(0));
    pthread_create(&thread, NULL, duplicate, NULL);
    for (int round = 1; round <= ROUNDS; round++) {
        fd = eventfd(1, 0);
        __atomic_store_n(&turn, 2 * round - 1, __ATOMIC_RELEASE);
        for (volatile int wait = round % 200; wait > 0; wait--) continue;
        failed += add(epfd, fd, EPOLLIN) != 0;
        while (__atomic_load_n(&turn, __ATOMIC_ACQUIRE) != 2 * round) continue;
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
