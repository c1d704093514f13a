// A descriptor is closed while a dup keeps its file: its events keep arriving, and DEL returns
// EBADF (libuv #1468). Fixed: DEL before close.
#include "finding.h"

int main(void)
{
    int epfd = epoll_create1(EPOLL_CLOEXEC), fd = event(1), kept = dup(fd);
    struct epoll_event event;
    must(kept >= 0, "dup");
    add(epfd, fd, EPOLLIN);
#ifdef FIXED
    must(epoll_ctl(epfd, EPOLL_CTL_DEL, fd, NULL) == 0, "EPOLL_CTL_DEL");
    close(fd);
#else
    close(fd); /* HERE */
#endif
    while (epoll_wait(epfd, &event, 1, 0) == 1)
        if (epoll_ctl(epfd, EPOLL_CTL_DEL, event.data.fd, NULL) != 0) {
            must(errno == EBADF, "EPOLL_CTL_DEL of a ghost");
            break;
        }
    return found(epfd, fd);
}
