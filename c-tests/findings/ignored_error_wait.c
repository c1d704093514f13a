// Waits on the -1 that epoll_create1 returned, also through syscall(). (Its flags do not exist or,
// with an argument, a fault must make it fail.) Fixed: it checks the result.
#include "finding.h"
#include <sys/syscall.h>

int main(int count, char **arguments)
{
    struct epoll_event event;
    (void)arguments;
    int epfd = epoll_create1(count == 1 ? -1 : EPOLL_CLOEXEC);
    must(epfd == -1, "epoll_create1 fails");
#ifndef FIXED
    long result = syscall(SYS_epoll_wait, epfd, &event, 1, 1); /* HERE */
    must(result == -1 && errno == EBADF, "epoll_wait");
#else
    (void)event;
#endif
    return found(-1, -1);
}
