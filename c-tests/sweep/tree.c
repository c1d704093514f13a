/* Threads and forked children call from the same places equally often, and print failures. */
#include "event_loop.h"

#include <pthread.h>

enum { MANY = 3 };

__attribute__((noinline)) static int first_copy(void) {
    int copy = dup(ends[0]);
    if (copy < 0)
        perror("first_copy");
    return copy;
}

__attribute__((noinline)) static int second_copy(void) {
    int copy = dup(ends[0]);
    if (copy < 0)
        perror("second_copy");
    return copy;
}

__attribute__((noinline)) static int own_loop(void) {
    int loop = epoll_create1(EPOLL_CLOEXEC);
    if (loop < 0)
        perror("own_loop");
    return loop;
}

static void *copies(void *unused) {
    int first = first_copy(), second = second_copy();
    if (first >= 0)
        close(first);
    if (second >= 0)
        close(second);
    return unused;
}

static int child(void) {
    int loop = own_loop();
    copies(NULL);
    return loop < 0;
}

int main(void) {
    connect_ends();
    pthread_t threads[MANY];
    for (int i = 0; i < MANY; i++)
        if (pthread_create(&threads[i], NULL, copies, NULL) != 0)
            return perror("pthread_create"), 1;
    for (int i = 0; i < MANY; i++)
        pthread_join(threads[i], NULL);
    int failed = 0, status;
    for (int i = 0; i < MANY; i++) {
        pid_t pid = fork();
        if (pid == 0)
            _exit(child());
        failed |= pid < 0;
    }
    while (wait(&status) > 0)
        failed |= status != 0;
    return failed;
}
