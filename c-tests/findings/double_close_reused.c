// The dangerous case: a thread closes a number twice, and in between another thread has got it. The
// other thread's own close, which is right, fails with EBADF. This is certain, and so the finding
// names the stray close. With -DFIXED the stray close is left out.
#include "finding.h"
#include <pthread.h>

static pthread_barrier_t turn;
static int number;

static void *stray(void *unused)
{
    int fd = eventfd(0, EFD_CLOEXEC);
    number = fd;
    close(fd); /* OTHER */
    pthread_barrier_wait(&turn);
    pthread_barrier_wait(&turn);
#ifndef FIXED
    close(fd); /* HERE */
#endif
    pthread_barrier_wait(&turn);
    return unused;
}

int main(void)
{
    pthread_t thread;
    pthread_barrier_init(&turn, NULL, 2);
    pthread_create(&thread, NULL, stray, NULL);
    pthread_barrier_wait(&turn);
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    must(fd == number, "the number was given again");
    pthread_barrier_wait(&turn);
    pthread_barrier_wait(&turn);
    close(fd);
    pthread_join(thread, NULL);
    return found(-1, fd);
}
