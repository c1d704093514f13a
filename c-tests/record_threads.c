/* Sixteen threads start at the same moment, and make a thousand calls each. */
#include "check.h"

enum { THREADS = 16 };
static pthread_barrier_t start;

static void *calls(void *unused) {
    struct epoll_event got;
    (void)unused;
    pthread_barrier_wait(&start);
    int epfd = epoll_create1(EPOLL_CLOEXEC);
    for (int i = 0; i < 998; i++) epoll_wait(epfd, &got, 1, 0);
    epoll_wait(epfd, &got, 0, 0);
    close(epfd);
    return NULL;
}

int main(void) {
    pthread_t threads[THREADS];
    pthread_barrier_init(&start, NULL, THREADS);
    for (int i = 0; i < THREADS; i++) pthread_create(&threads[i], NULL, calls, NULL);
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    return verdict();
}
