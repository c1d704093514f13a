// Healthy: three threads wait on one instance, level-triggered, for what holds work for each of them: a semaphore of jobs, and a
// listening socket to which clients come all the time.
#include "finding.h"
#include "clock.h"
#include <arpa/inet.h>
#include <pthread.h>

static int epfd, listener, jobs;
static struct sockaddr_in address = {.sin_family = AF_INET};
static socklen_t length = sizeof address;
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
        int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        must(connect(client, (struct sockaddr *)&address, length) == 0, "connect");
        struct linger linger = {.l_onoff = 1};
        setsockopt(client, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
        char end;
        while (read(client, &end, 1) < 0 && errno == EINTR)
            continue;
        close(client);
    }
    return nothing;
}

int main(void)
{
    listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    must(bind(listener, (struct sockaddr *)&address, length) == 0 && listen(listener, 4096) == 0, "listen");
    getsockname(listener, (struct sockaddr *)&address, &length);
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
