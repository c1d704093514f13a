// squeak-vm #684, as of many servers: an edge-triggered interest is told once that the client has closed its end. The read returns
// 0, and the handler does not close: the socket stays in CLOSE_WAIT, and stays watched. With -DMENDED it closes.
#include "../tcp.h"

enum { CONNECTIONS = 200 };

static int epfd, listener, last;

static void round_of_events(void)
{
    struct epoll_event events[16];
    int count = epoll_wait(epfd, events, 16, -1);
    for (int i = 0; i < count; i++) {
        int fd = events[i].data.fd;
        if (fd == listener) {
            last = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK); /* HERE */
            must(last >= 0, "accept4");
            add(epfd, last, EPOLLIN | EPOLLRDHUP | EPOLLET);
            continue;
        }
        char bytes[64];
        ssize_t got;
        while ((got = read(fd, bytes, sizeof bytes)) > 0)
            ;
#ifdef MENDED
        if (got == 0)
            close(fd);
#endif
    }
}

int main(void)
{
    listener = listens(SOCK_NONBLOCK, 128);
    epfd = epoll_create1(EPOLL_CLOEXEC);
    add(epfd, listener, EPOLLIN);
    for (int i = 0; i < CONNECTIONS; i++) {
        int client = connects();
        round_of_events();
        must(write(client, "GET", 3) == 3, "the request");
        round_of_events();
        close(client);
        round_of_events();
    }
    return found(-1, last);
}
