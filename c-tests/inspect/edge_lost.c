/* davici #4: edge-triggered, and one message is read for each event. The messages that arrived with
 * it stay in the socket. `unix`: the same on a pair of Unix sockets. `listen`: one connection is
 * accepted for each event. `whole`: reads until EAGAIN. */
#include "stuck.h"

static int is_whole, listener;

static void one(int epfd, struct epoll_event *event) {
    char message[8];
    (void)epfd;
    if (event->data.fd == listener) {
        (void)accepted(listener);
        return;
    }
    while (read(event->data.fd, message, sizeof message) > 0 && is_whole) continue;
}

int main(int argc, char **argv) {
    const char *kind = argc > 1 ? argv[1] : "";
    int pair[2], epfd = epoll_create1(EPOLL_CLOEXEC);
    is_whole = strcmp(kind, "whole") == 0;
    if (strcmp(kind, "unix") == 0) {
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) != 0) abort();
    } else if (strcmp(kind, "listen") == 0) {
        pair[0] = listener = listening();
        for (int client = 0; client < 3; client++) pair[1] = connected(listener);
    } else {
        int from = listening();
        pair[1] = connected(from);
        pair[0] = accepted(from);
    }
    for (int message = 0; listener == 0 && message < 10; message++) {
        if (write(pair[1], "message.", 8) != 8) abort();
    }
    nap(20);
    add(epfd, pair[0], EPOLLIN | EPOLLET);
    is_ready(pair[0]);
    serve(epfd, one);
}
