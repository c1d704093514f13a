/* Threads that allocate and use epoll, and children that are forked meanwhile and do the same. All
 * of it works, whichever allocator is linked or preloaded. With an argument the children end by
 * _exit (heaptrack's exit handler takes a lock that another thread may have held at the fork). */
#include "../check.h"

enum { THREADS = 4, ROUNDS = 150, CHILDREN = 12 };

static int failures;

/* A growing block, and an instance that returns one event. */
static int round_works(unsigned seed) {
    size_t size = 16 + seed * 37 % 4000;
    unsigned char *block = malloc(size);
    if (block == NULL) return 0;
    memset(block, (int)seed & 0xff, size);
    int epfd = epoll_create1(EPOLL_CLOEXEC), fd = eventfd(1, EFD_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN}, got;
    int works = epfd >= 0 && fd >= 0 && epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &event) == 0 &&
                epoll_wait(epfd, &got, 1, 1000) == 1 && got.events == EPOLLIN;
    block = realloc(block, 2 * size);
    works = works && block != NULL && block[size - 1] == (seed & 0xff);
    works = works && close(fd) == 0 && close(epfd) == 0;
    free(block);
    return works;
}

static void *work(void *first) {
    for (unsigned i = 0; i < ROUNDS; i++)
        if (!round_works((unsigned)(uintptr_t)first + i)) __atomic_fetch_add(&failures, 1, __ATOMIC_RELAXED);
    return malloc(100); /* freed by another thread */
}

int main(int count, char **arguments) {
    (void)arguments;
    pthread_t threads[THREADS];
    for (uintptr_t i = 0; i < THREADS; i++) QUIETLY(pthread_create(&threads[i], NULL, work, (void *)(i * ROUNDS)) == 0);
    int good = 0;
    for (unsigned i = 0; i < CHILDREN; i++) {
        pid_t child = fork();
        if (child == 0) (count > 1 ? _exit : exit)(round_works(i) && round_works(i + 1) ? 0 : 1);
        int status = -1;
        good += child > 0 && waitpid(child, &status, 0) == child && status == 0;
    }
    for (int i = 0; i < THREADS; i++) {
        void *block = NULL;
        QUIETLY(pthread_join(threads[i], &block) == 0 && block != NULL);
        free(block);
    }
    EQUAL(good, CHILDREN);
    EQUAL(failures, 0);
    return verdict();
}
