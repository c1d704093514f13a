// Three threads wait on one instance, which watches a listening socket level-triggered: each connection wakes two of them. With
// -DMENDED: EPOLLET, and each accepts until there is no more.
#include "finding.h"
#include "clock.h"
#include <arpa/inet.h>
#include <pthread.h>

#ifdef MENDED
enum { EVENTS = EPOLLIN | EPOLLET };
#else
enum { EVENTS = EPOLLIN };
#endif

static int epfd, listener;
static volatile int stops;

// Takes a little while, as a server's do that looks up a thing or two before it accepts.
static void *serve(void *nothing)
{
    struct epoll_event events[8];
    while (!stops) {
        if (epoll_wait(epfd, events, 8, 10) != 1)
            continue;
        usleep(100);
        int client;
        while ((client = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) >= 0)
            close(client);
    }
    return nothing;
}

int main(void)
{
    listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    must(bind(listener, (struct sockaddr *)&address, length) == 0 && listen(listener, 4096) == 0, "listen");
    getsockname(listener, (struct sockaddr *)&address, &length);
    epfd = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event interest = {.events = EVENTS, .data.fd = listener};
    must(epoll_ctl(epfd, EPOLL_CTL_ADD, listener, &interest) == 0, "EPOLL_CTL_ADD"); /* HERE */
    pthread_t threads[3];
    for (int i = 0; i < 3; i++)
        must(pthread_create(&threads[i], NULL, serve, NULL) == 0, "pthread_create");
    struct since since = begin();
    for (int made = 0; made < 1000 || runs(&since, 3000); made++) {
        int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        must(connect(client, (struct sockaddr *)&address, length) == 0, "connect");
        // One after another: until the server has closed it.
        char nothing;
        must(read(client, &nothing, 1) == 0, "read");
        // Reset, so that no port stays taken.
        struct linger linger = {.l_onoff = 1};
        setsockopt(client, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
        close(client);
    }
    stops = 1;
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    int numbers[] = {epfd, listener};
    close(listener);
    close(epfd);
    return found(numbers[0], numbers[1]);
}
