// datacratic/soa #16: the constructor calls init(), and the subclass calls it again, and the
// descriptor of the first epoll instance is lost. At the end the program closes the good ones.
// -DSECONDS=N: it lives that long. -DWAKES: each instance watches an eventfd of its own, the lost
// ones too, and nothing is closed. With -DFIXED there is one init; with -DAHEAD nothing is lost:
// loops are created in advance, and only the first of them is needed before the program ends.
#include "../finding.h"

enum { ENDPOINTS = 12 };
#ifndef SECONDS
#define SECONDS 0
#endif

static void init(int *epfd)
{
    *epfd = epoll_create1(EPOLL_CLOEXEC); /* HERE */
    must(*epfd >= 0, "epoll_create1");
#if defined WAKES || defined AHEAD
    add(*epfd, event(0), EPOLLIN);
#endif
}

int main(void)
{
    int epfds[ENDPOINTS], first = -1, used = ENDPOINTS;
#ifdef AHEAD
    used = 1;
#endif
    for (int i = 0; i < ENDPOINTS; i++) {
        init(&epfds[i]);
        first = first < 0 ? epfds[i] : first;
#if !defined FIXED && !defined AHEAD
        init(&epfds[i]);
#endif
    }
    int shared = event(0);
    for (int i = 0; i < used; i++)
        add(epfds[i], shared, EPOLLIN);
    for (int turn = 0; turn <= SECONDS * 10; turn++)
        for (int i = 0; i < used; i++) {
            struct epoll_event event;
            must(epoll_wait(epfds[i], &event, 1, SECONDS ? 8 : 1) >= 0, "epoll_wait");
        }
#if !defined WAKES && !defined AHEAD
    for (int i = 0; i < used; i++)
        close(epfds[i]);
#endif
    return found(first, -1);
}
