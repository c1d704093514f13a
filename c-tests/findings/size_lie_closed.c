// As size_lie.c, but the instance is closed long before the end.
#include "finding.h"

int main(void)
{
#ifdef FIXED
    int epfd = epoll_create(3);
#else
    int epfd = epoll_create(2); /* HERE */
#endif
    for (int i = 0; i < 3; i++)
        add(epfd, event(0), EPOLLIN);
    close(epfd);
    return found(epfd, -1);
}
