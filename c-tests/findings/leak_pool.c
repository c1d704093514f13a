// No leak: four threads with a loop each, which end without closing theirs, as memcached's do. Two
// were never woken. A fifth loop is in the list of the main one, and is waited on only if it has
// something.
#include "finding.h"
#include <pthread.h>

static int loops[4], stop;

static void *loop(void *argument)
{
    int epfd = *(int *)argument;
    struct epoll_event event;
    while (epoll_wait(epfd, &event, 1, -1) == 1 && event.data.fd != stop)
        ;
    return NULL;
}

int main(void)
{
    int epfds[6];
    pthread_t threads[4];
    stop = eventfd(0, EFD_CLOEXEC);
    for (int i = 0; i < 6; i++)
        epfds[i] = epoll_create1(EPOLL_CLOEXEC);
    add(epfds[4], epfds[5], EPOLLIN);
    for (int i = 0; i < 4; i++) {
        loops[i] = epfds[i];
        // Only two are woken at the end; the others are blocked in their first wait when the
        // program ends.
        if (i < 2)
            add(loops[i], stop, EPOLLIN);
        must(pthread_create(&threads[i], NULL, loop, &loops[i]) == 0, "pthread_create");
    }
    usleep(100000);
    eventfd_write(stop, 1);
    pthread_join(threads[0], NULL);
    pthread_join(threads[1], NULL);
    struct epoll_event event;
    must(epoll_wait(epfds[4], &event, 1, 10) == 0, "epoll_wait");
    return found(-1, -1);
}
