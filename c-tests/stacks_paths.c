/* One call that is reached by several paths, again and again, on several threads: through two
 * functions, and through one whose frame has another size each time. */
#define _GNU_SOURCE
#include <alloca.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

static volatile int used;

__attribute__((noinline)) static void leaf(void)
{
    int epfd = epoll_create1(EPOLL_CLOEXEC); /* LEAF */
    if (epfd < 0 || close(epfd))
        exit(1);
    used++;
}

__attribute__((noinline)) static void left(void)
{
    leaf(); /* LEFT */
    used++;
}

__attribute__((noinline)) static void right(void)
{
    char space[200];
    memset(space, used & 1, sizeof space);
    leaf(); /* RIGHT */
    used += space[used & 127];
}

__attribute__((noinline)) static void grows(int size)
{
    char *space = alloca(16 + 48 * (size_t)size);
    memset(space, used & 1, 16);
    leaf(); /* GROWS */
    used += space[used & 15];
}

__attribute__((noinline)) static void *runs(void *unused)
{
    (void)unused;
    for (int i = 0; i < 100; i++) {
        left();       /* RUNS_LEFT */
        grows(i % 7); /* RUNS_GROWS */
        right();      /* RUNS_RIGHT */
    }
    return NULL;
}

int main(void)
{
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        if (pthread_create(&threads[i], NULL, runs, NULL))
            return 1;
    runs(NULL);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    return 0;
}
