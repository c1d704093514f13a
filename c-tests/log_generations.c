/* Each generation forks while its threads are busy with epoll. The parts of the log that those
 * threads held must not be missing in the child, or in the child's child. */
#include "check.h"

#define THREADS 8
#define GENERATIONS 60

static volatile int stop;
static pthread_t threads[THREADS];

static void *busy(void *nothing) {
    int epfd = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event got;
    while (!stop) epoll_wait(epfd, &got, 1, 0);
    close(epfd);
    return nothing;
}

int main(void) {
    int generation = 0;
    for (;;) {
        for (int i = 0; i < THREADS; i++) pthread_create(&threads[i], NULL, busy, NULL);
        nap(3);
        pid_t child = generation < GENERATIONS ? fork() : -1;
        if (child == 0) {
            generation++;
            continue;
        }
        stop = 1;
        for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
        int status = child > 0 ? status_of(child) : 0;
        if (generation == 0) {
            EQUAL(status, 0);
            return verdict();
        }
        return status;
    }
}
