// No leak. One of these chooses why:
//
//   -DALL_LEAVE  two hundred watched connections live, and their other ends are closed when the
//                program ends
//   -DONE_ROUND  one round accepts two hundred connections whose clients are already gone, and the
//                program ends before it reads
//   -DTIMERS     each of two hundred living connections has a timer and an eventfd of its own, all
//                watched
//   -DCLOSED     what stayed open although its other end was gone is closed before the end
#include "tcp.h"
#include <sys/socket.h>
#include <sys/timerfd.h>

enum { MANY = 200 };

static int epfd;

static void waits(void)
{
    struct epoll_event event;
    must(epoll_wait(epfd, &event, 1, 0) >= 0, "epoll_wait");
}

int main(void)
{
    int kept[MANY], far[MANY];
    epfd = epoll_create1(EPOLL_CLOEXEC);
#ifdef ONE_ROUND
    int listener = listens(SOCK_NONBLOCK, MANY);
    add(epfd, listener, EPOLLIN);
    for (int i = 0; i < MANY; i++) {
        int client = connects();
        waits();
        close(client);
    }
    for (int i = 0; i < MANY; i++) {
        kept[i] = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        must(kept[i] >= 0, "accept4");
        add(epfd, kept[i], EPOLLIN | EPOLLET);
    }
#else
    for (int i = 0; i < MANY; i++) {
        int ends[2];
        must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0, "socketpair");
        kept[i] = ends[0];
        far[i] = ends[1];
        add(epfd, kept[i], EPOLLIN | EPOLLRDHUP | EPOLLET);
        // The far end would belong to another program. Here it must not be taken for a leak itself.
        add(epfd, far[i], 0);
#ifdef TIMERS
        add(epfd, timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC), EPOLLIN);
        add(epfd, event(0), EPOLLIN);
#endif
#ifdef CLOSED
        close(far[i]);
#endif
        waits();
    }
#ifdef ALL_LEAVE
    for (int i = 0; i < MANY; i++)
        close(far[i]);
#endif
#ifdef CLOSED
    for (int i = 0; i < MANY; i++)
        close(kept[i]);
#endif
#endif
    (void)far;
    return found(-1, -1);
}
