// A copy of a descriptor was sent by SCM_RIGHTS and not received yet: it keeps the file open that
// the sender closed.
#include "pass.h"

int main(void)
{
    int pair[2];
    struct epoll_event event;
    must(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0, "socketpair");
    int epfd = epoll_create1(EPOLL_CLOEXEC), fd = eventfd(1, EFD_CLOEXEC);
    add(epfd, fd, EPOLLIN);
    send_descriptor(pair[0], fd);
#ifdef FIXED
    must(epoll_ctl(epfd, EPOLL_CTL_DEL, fd, NULL) == 0, "EPOLL_CTL_DEL");
    close(fd);
    must(epoll_wait(epfd, &event, 1, 1) == 0, "epoll_wait");
#else
    close(fd); /* HERE */
    must(epoll_wait(epfd, &event, 1, 0) == 1, "epoll_wait");
#endif
    return found(epfd, fd);
}
