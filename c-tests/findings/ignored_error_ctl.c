// epoll_create1 fails, and the program adds to -1. Fixed: it checks the result of epoll_create1.
// With an argument a fault must make epoll_create1 fail; otherwise it is called with flags that do
// not exist.
#include "finding.h"

int main(int count, char **arguments)
{
    int fd = event(1);
    (void)arguments;
    int epfd = epoll_create1(count == 1 ? -1 : EPOLL_CLOEXEC);
    must(epfd == -1, "epoll_create1 fails");
#ifdef FIXED
    return found(-1, fd);
#else
    struct epoll_event interest = {.events = EPOLLIN, .data.fd = fd};
    int result = epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &interest); /* HERE */
    must(result == -1 && errno == EBADF, "EPOLL_CTL_ADD");
    return found(-1, fd);
#endif
}
