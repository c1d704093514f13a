// gattaca-com/flux #67 (connection starvation): waits for 128 events, edge-triggered, for more
// connections than that, most of them busy. Events that did not fit into one batch arrived in the
// next, a second late, and the kernel shrank the receive windows of their connections.
#include "../finding.h"

int main(void)
{
    enum { CONNECTIONS = 300, BATCH = 128 };
    int epfd = epoll_create1(EPOLL_CLOEXEC), fds[CONNECTIONS];
    for (int i = 0; i < CONNECTIONS; i++) {
        fds[i] = event(1);
        add(epfd, fds[i], EPOLLIN | EPOLLET);
    }
    struct epoll_event events[BATCH];
    for (int round = 0; round < 10000; round++) {
        int count = epoll_wait(epfd, events, BATCH, 1000); /* HERE */
        must(count == BATCH, "epoll_wait");
        // Each connection that was served has more data at once.
        for (int i = 0; i < count; i++) {
            eventfd_t value;
            eventfd_read(events[i].data.fd, &value);
            eventfd_write(events[i].data.fd, 1);
        }
    }
    return found(epfd, -1);
}
