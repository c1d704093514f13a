/* No defect: a listener, an idle connection, an edge-triggered eventfd that wakes and is never read
 * (mio, nginx), a copy of the instance, a thread that waits for a while. */
#include "stuck.h"

static void *waits(void *epfd) {
    struct epoll_event event;
    for (;;) epoll_wait(*(int *)epfd, &event, 1, 10000);
    return NULL;
}

int main(void) {
    int from = listening(), client = connected(from), server = accepted(from), epfd = epoll_create1(EPOLL_CLOEXEC);
    int wakes = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK), own = epoll_create1(EPOLL_CLOEXEC);
    pthread_t thread;
    add(epfd, from, EPOLLIN);
    add(epfd, server, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET);
    add(epfd, wakes, EPOLLIN | EPOLLET);
    add(own, client, EPOLLIN);
    if (fcntl(epfd, F_DUPFD_CLOEXEC, 50) < 0) abort();
    pthread_create(&thread, NULL, waits, &own);
    is_ready(server);
    serve(epfd, NULL);
}
