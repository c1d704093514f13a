/* record_many: eight threads create 300 instances each, with 30 interests in each, and wait on each
 * instance once. Then the process is killed. The tables of a recording have grown many times by
 * then. */
#include "check.h"

#include <signal.h>
#include <sys/resource.h>

enum { THREADS = 8, INSTANCES = 300, INTERESTS = 30 };
static pthread_barrier_t start;

static void *fill(void *unused) {
    struct epoll_event event = interest(EPOLLIN, 7);
    int files[INTERESTS];
    (void)unused;
    for (int i = 0; i < INTERESTS; i++) CHECK((files[i] = eventfd(1, EFD_CLOEXEC)) >= 0);
    pthread_barrier_wait(&start);
    for (int i = 0; i < INSTANCES; i++) {
        int epfd = epoll_create1(EPOLL_CLOEXEC);
        CHECK(epfd >= 0);
        for (int file = 0; file < INTERESTS; file++) CHECK(epoll_ctl(epfd, EPOLL_CTL_ADD, files[file], &event) == 0);
        CHECK(epoll_wait(epfd, &event, 1, 0) == 1);
    }
    return NULL;
}

int main(void) {
    pthread_t threads[THREADS];
    struct rlimit files;
    CHECK(getrlimit(RLIMIT_NOFILE, &files) == 0);
    files.rlim_cur = files.rlim_max;
    CHECK(setrlimit(RLIMIT_NOFILE, &files) == 0);
    pthread_barrier_init(&start, NULL, THREADS);
    for (int i = 0; i < THREADS; i++) CHECK(pthread_create(&threads[i], NULL, fill, NULL) == 0);
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    if (checks_failed == 0) kill(getpid(), SIGKILL);
    return verdict();
}
