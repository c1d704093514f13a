// Connections whose other end is gone stay open, although the loop was notified. One of these
// chooses which:
//
//   -DREADERS  reading ends of pipes whose writer is gone
//   -DWRITERS  writing ends of pipes that have no reader any more
//   -DQUIET    unix sockets: one in twelve; two hundred others live and are watched
//
// With -DFIXED they are closed.
#include "finding.h"
#include <sys/socket.h>

#if defined QUIET
enum { CONNECTIONS = 4200, ONE_IN = 12, LIVING = 200 };
#else
enum { CONNECTIONS = 150, ONE_IN = 1, LIVING = 0 };
#endif

static int epfd, last;

// Returns the far end.
static int connection(void)
{
    int ends[2];
#if defined READERS || defined WRITERS
    must(pipe2(ends, O_CLOEXEC | O_NONBLOCK) == 0, "pipe2"); /* PIPE */
#else
    must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0, "socketpair"); /* PAIR */
#endif
#ifdef WRITERS
    int far = ends[0];
    last = ends[1];
#else
    int far = ends[1];
    last = ends[0];
#endif
    add(epfd, last, EPOLLIN | EPOLLRDHUP | EPOLLET);
    return far;
}

int main(void)
{
    epfd = epoll_create1(EPOLL_CLOEXEC);
    int lingers = -1;
    // The far ends would belong to another program. Here they must not be taken for a leak
    // themselves.
    for (int i = 0; i < LIVING; i++)
        add(epfd, connection(), 0);
    for (int i = 0; i < CONNECTIONS; i++) {
        close(connection());
        struct epoll_event event;
        must(epoll_wait(epfd, &event, 1, -1) == 1 && event.data.fd == last, "the end");
#ifndef FIXED
        if (i % ONE_IN == 0) {
            lingers = last;
            continue;
        }
#endif
        close(last);
    }
    return found(-1, lingers);
}
