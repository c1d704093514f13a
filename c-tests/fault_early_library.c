/* A library whose constructor runs before epollshim's own. It starts threads that use epoll at once
 * or, with one thread, calls epoll itself. */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

int early_results[8], early_count;
static pthread_t threads[8];
static pthread_barrier_t barrier;

static void *work(void *at) {
    if (early_count > 1) pthread_barrier_wait(&barrier);
    int made = epoll_create1(0);
    *(int *)at = made == -1 ? -errno : made;
    return NULL;
}

__attribute__((constructor)) static void before_the_shim(void) {
    const char *count = getenv("EARLY_THREADS");
    early_count = count == NULL ? 1 : atoi(count);
    if (early_count == 1) {
        work(&early_results[0]);
        return;
    }
    pthread_barrier_init(&barrier, NULL, (unsigned)early_count);
    for (int i = 0; i < early_count; i++) pthread_create(&threads[i], NULL, work, &early_results[i]);
}

void early_end(void) {
    for (int i = 0; early_count > 1 && i < early_count; i++) pthread_join(threads[i], NULL);
}
