// As ghost.c, but the program only continues to wait and makes no call for the dead number. A dup2
// over it closed it.
#include "finding.h"

int main(void)
{
    int epfd = epoll_create1(EPOLL_CLOEXEC), fd = event(0), kept = dup(fd), other = event(0);
    struct epoll_event event;
    must(kept >= 0, "dup");
    add(epfd, fd, EPOLLIN);
#ifdef FIXED
    must(epoll_ctl(epfd, EPOLL_CTL_DEL, fd, NULL) == 0, "EPOLL_CTL_DEL");
    must(dup2(other, fd) == fd, "dup2");
#else
    must(dup2(other, fd) == fd, "dup2"); /* HERE */
#endif
    for (int i = 0; i < 3; i++)
        must(epoll_wait(epfd, &event, 1, 1) == 0, "epoll_wait");
    return found(epfd, fd);
}
