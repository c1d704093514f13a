// A unix socket whose peer lives: what the peer has sent is never read. With -DOUT: EPOLLOUT is
// requested, and nothing is written. With -DFIXED the peer, a thread, sends and receives at full
// speed, by calls that the kernel does not count (send, recv).
#include "burns.h"
#include <pthread.h>

#ifdef FIXED
static void *peer(void *socket)
{
    static char bytes[4096];
    for (;;) {
#ifdef OUT
        if (recv(*(int *)socket, bytes, sizeof bytes, 0) <= 0)
            return NULL;
#else
        if (send(*(int *)socket, bytes, 64, MSG_NOSIGNAL) != 64)
            return NULL;
#endif
    }
}
#endif

int main(void)
{
    int epfd = epoll_create1(EPOLL_CLOEXEC), pair[2];
    must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0, "socketpair");
#ifdef OUT
    struct epoll_event event = {.events = EPOLLOUT, .data.fd = pair[0]};
#else
    struct epoll_event event = {.events = EPOLLIN, .data.fd = pair[0]};
    must(write(pair[1], "hello", 5) == 5, "write");
#endif
    must(epoll_ctl(epfd, EPOLL_CTL_ADD, pair[0], &event) == 0, "EPOLL_CTL_ADD"); /* ADDED */
#ifdef FIXED
    pthread_t thread;
    must(pthread_create(&thread, NULL, peer, &pair[1]) == 0, "pthread_create");
#endif
    struct since since = begin();
    struct epoll_event events[8];
    while (goes_on(&since, 600)) {
        int n = epoll_wait(epfd, events, 8, 50); /* HERE */
#ifdef FIXED
        char bytes[64] = "";
#ifdef OUT
        must(n <= 0 || send(pair[0], bytes, sizeof bytes, MSG_NOSIGNAL) == sizeof bytes, "send");
#else
        must(n <= 0 || recv(pair[0], bytes, sizeof bytes, 0) > 0, "recv");
#endif
#else
        (void)n;
#endif
    }
#ifdef FIXED
    shutdown(pair[0], SHUT_RDWR);
    pthread_join(thread, NULL);
#endif
    return found(epfd, pair[0]);
}
