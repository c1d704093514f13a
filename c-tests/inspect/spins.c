/* A loop whose waits return at once, again and again. `end`: the other end has closed, and this one
 * stays open. `out`: it requests EPOLLOUT with nothing to write. `works`: it computes while a
 * descriptor is ready, which is no spin. */
#include "stuck.h"

int main(int argc, char **argv) {
    const char *kind = argc > 1 ? argv[1] : "";
    int pair[2], epfd = epoll_create1(EPOLL_CLOEXEC);
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) abort();
    add(epfd, pair[0], strcmp(kind, "out") == 0 ? EPOLLOUT : EPOLLIN);
    if (strcmp(kind, "end") == 0) close(pair[1]);
    if (strcmp(kind, "works") == 0 && write(pair[1], "x", 1) != 1) abort();
    is_ready(pair[0]);
    for (volatile unsigned long work = 0; strcmp(kind, "works") == 0;) work++;
    serve(epfd, NULL);
}
