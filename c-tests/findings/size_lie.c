// epoll_create(2) states that there will be two watches, but three are added. With -DFIXED:
// epoll_create1, which states no size. With -DCLOSED: and there is no other finding.
#include "finding.h"

int main(void)
{
#ifdef FIXED
    int epfd = epoll_create1(EPOLL_CLOEXEC);
#else
    int epfd = epoll_create(2); /* HERE */
#endif
    for (int i = 0; i < 3; i++)
        add(epfd, eventfd(0, EFD_CLOEXEC), EPOLLIN);
#ifdef CLOSED
    close(epfd);
#endif
    return found(epfd, -1);
}
