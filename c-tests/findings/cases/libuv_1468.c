// libuv #1468 (uv_poll_stop leaves the descriptor in the pollset; #1148, uvloop #61): a descriptor
// that uv_poll watched was a duplicate of a stream's. It was closed while the stream stayed open.
// epoll kept the interest, and reported it in every round of the loop. The EPOLL_CTL_DEL with which
// libuv then tried to remove it failed with EBADF, and the loop spun.
#include "../finding.h"

int main(void)
{
    int epfd = epoll_create1(EPOLL_CLOEXEC), stream = eventfd(1, EFD_CLOEXEC);
    int polled = fcntl(stream, F_DUPFD_CLOEXEC, 0);
    add(epfd, polled, EPOLLIN);
    close(polled); /* HERE */
    struct epoll_event event;
    for (int i = 0; i < 10; i++) {
        must(epoll_wait(epfd, &event, 1, -1) == 1 && event.data.fd == polled, "an event for what is closed");
        must(epoll_ctl(epfd, EPOLL_CTL_DEL, polled, &event) == -1 && errno == EBADF, "EPOLL_CTL_DEL");
    }
    return found(epfd, polled);
}
