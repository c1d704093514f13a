// No defect: three threads wait on one instance, level-triggered, for sources with work for each of
// them: a semaphore of jobs, and a listening socket to which clients connect all the time.
#include "tcp.h"
#include "clock.h"
#include <pthread.h>

static int epfd, listener, jobs;
static volatile int stops;

static void *serve(void *nothing)
{
    struct epoll_event event;
    while (!stops) {
        if (epoll_wait(epfd, &event, 1, 10) != 1)
            continue;
        uint64_t job;
        int client = event.data.fd == listener ? accept4(listener, NULL, NULL, SOCK_CLOEXEC) : -1;
        if (client >= 0 || (event.data.fd == jobs && read(jobs, &job, sizeof job) == sizeof job))
            usleep(200);
        if (client >= 0)
            close(client);
    }
    return nothing;
}

static void *come(void *nothing)
{
    while (!stops) {
        int client = connects();
        char end;
        while (read(client, &end, 1) < 0 && errno == EINTR)
            continue;
        resets(client);
    }
    return nothing;
}

int main(void)
{
    listener = listens(SOCK_NONBLOCK, 4096);
    jobs = eventfd(0, EFD_SEMAPHORE | EFD_CLOEXEC | EFD_NONBLOCK);
    epfd = epoll_create1(EPOLL_CLOEXEC);
    add(epfd, listener, EPOLLIN);
    add(epfd, jobs, EPOLLIN);
    pthread_t threads[11];
    for (int i = 0; i < 11; i++)
        must(pthread_create(&threads[i], NULL, i < 3 ? serve : come, NULL) == 0, "pthread_create");
    struct since since = begin();
    while (runs(&since, 2000)) {
        uint64_t more = 3;
        must(write(jobs, &more, sizeof more) == sizeof more, "write");
        usleep(1000);
    }
    stops = 1;
    // The threads that serve are woken, and the clients' connections are closed.
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    close(listener);
    for (int i = 3; i < 11; i++)
        pthread_cancel(threads[i]);
    close(epfd);
    return found(-1, -1);
}
