/* Eight threads that make calls without a pause, and count them in a page that they share with the
 * test: each call before it is made, and again when it has returned. Killed at a random moment,
 * their recording has at least the calls that have returned, and at most those that were begun.
 *
 * record_busy PAGE
 *     PAGE: a file of 4,096 bytes. Word 2i: calls begun by thread i; word 2i + 1: returned */
#include "check.h"
#include <sys/mman.h>

enum { THREADS = 8 };
static volatile unsigned long *page;

static void *busy(void *number) {
    volatile unsigned long *begun = &page[2 * (long)number], *returned = begun + 1;
    int epfd, fd = eventfd(1, EFD_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN}, got[4];
    for (;;) {
        ++*begun;
        epfd = epoll_create1(EPOLL_CLOEXEC);
        ++*returned;
        ++*begun;
        epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &event);
        ++*returned;
        for (int i = 0; i < 50; i++) {
            ++*begun;
            epoll_wait(epfd, got, 4, i % 3);
            ++*returned;
            ++*begun;
            epoll_ctl(epfd, EPOLL_CTL_MOD, i % 5 ? fd : -1, &event);
            ++*returned;
        }
        ++*begun;
        epoll_ctl(epfd, EPOLL_CTL_DEL, fd, NULL);
        ++*returned;
        close(epfd);
    }
    return NULL;
}

int main(int count, char **arguments) {
    if (count != 2) return 2;
    int file = WORKS(open(arguments[1], O_RDWR));
    page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    CHECK(page != MAP_FAILED);
    pthread_t threads[THREADS];
    for (long i = 0; i < THREADS; i++) pthread_create(&threads[i], NULL, busy, (void *)i);
    pthread_join(threads[0], NULL);
    return 0;
}
