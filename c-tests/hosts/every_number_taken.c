/* Every descriptor number is taken, and the hard limit equals the soft one. What is logged,
 * recorded and reported of the calls from then on?
 *
 * every_number_taken CALLS [alone]
 *     Two threads make CALLS waits each; with `alone`, the main thread makes them.
 *
 * The program keeps all numbers until it ends. */
#include "../check.h"

static int epfd, count;

static void *work(void *unused) {
    (void)unused;
    struct epoll_event got;
    for (int i = 0; i < count; i++) QUIETLY(epoll_wait(epfd, &got, 1, 0) == 1);
    return NULL;
}

int main(int words, char **word) {
    count = atoi(word[1]);
    struct rlimit limit = {40, 40};
    EQUAL(setrlimit(RLIMIT_NOFILE, &limit), 0);
    epfd = WORKS(epoll_create1(EPOLL_CLOEXEC));
    int fd = WORKS(eventfd(1, EFD_CLOEXEC));
    EQUAL(add(epfd, fd, EPOLLIN), 0);
    while (dup(fd) != -1) continue;
    EQUAL(errno, EMFILE);
    if (words > 2) {
        work(NULL);
        work(NULL);
    } else {
        pthread_t threads[2];
        for (int i = 0; i < 2; i++) pthread_create(threads + i, NULL, work, NULL);
        for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
    }
    FAILS(epoll_create1(0), EMFILE);
    return verdict();
}
