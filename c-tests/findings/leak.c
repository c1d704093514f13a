// One loop for each of sixteen jobs, as asyncio.run would create, and no loop is closed: each was
// waited on, and is then forgotten. With -DFIXED each is closed with its job, except the main loop,
// which stays open to the end as in most programs.
#include "finding.h"

static int job(void)
{
    int epfd = epoll_create1(EPOLL_CLOEXEC); /* HERE */
    must(epfd >= 0, "epoll_create1");
    int fd = eventfd(1, EFD_CLOEXEC);
    add(epfd, fd, EPOLLIN);
    struct epoll_event event;
    must(epoll_wait(epfd, &event, 1, -1) == 1, "epoll_wait");
    close(fd);
    return epfd;
}

int main(void)
{
    int first = -1;
    for (int i = 0; i < 16; i++) {
        int epfd = job();
        if (first < 0)
            first = epfd;
#ifdef FIXED
        close(epfd);
#endif
    }
#ifdef FIXED
    job();
#endif
    return found(first, -1);
}
