// Threads that make calls without end, and count them in a page that they share with the test, as
// words: 0 ADDs that failed with ENOSPC, 1 calls that failed otherwise, 2 calls begun, 3 calls
// returned. They end when word 4 is not 0.
//   crowd PAGE THREADS
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

static unsigned long *page;

static void count(int word) { __atomic_fetch_add(&page[word], 1, __ATOMIC_SEQ_CST); }

static void note(int result) {
    count(3);
    if (result < 0) count(errno == ENOSPC ? 0 : 1);
}

static void *work(void *nothing) {
    (void)nothing;
    int epfd = epoll_create1(EPOLL_CLOEXEC), fd = eventfd(0, EFD_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN}, got;
    while (!__atomic_load_n(&page[4], __ATOMIC_SEQ_CST)) {
        count(2);
        int added = epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &event);
        note(added);
        count(2);
        note(epoll_wait(epfd, &got, 1, 0));
        if (added == 0) {
            count(2);
            note(epoll_ctl(epfd, EPOLL_CTL_DEL, fd, NULL));
        }
        usleep(50);
    }
    return NULL;
}

int main(int number, char **arguments) {
    if (number != 3) return 2;
    int file = open(arguments[1], O_RDWR | O_CLOEXEC);
    page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (page == MAP_FAILED) return 2;
    pthread_t threads[64];
    int many = atoi(arguments[2]);
    for (int i = 0; i < many; i++) pthread_create(&threads[i], NULL, work, NULL);
    for (int i = 0; i < many; i++) pthread_join(threads[i], NULL);
    return 0;
}
