// Waits on the -1 that epoll_create gave, through syscall() too. Mended: it looks at what it gave.
#include "finding.h"
#include <sys/resource.h>
#include <sys/syscall.h>

int main(int count, char **arguments)
{
    struct epoll_event event;
    struct rlimit limit;
    (void)arguments;
    must(getrlimit(RLIMIT_NOFILE, &limit) == 0, "getrlimit");
    limit.rlim_cur = 3;
    if (count == 1)
        must(setrlimit(RLIMIT_NOFILE, &limit) == 0, "setrlimit");
    int epfd = epoll_create1(EPOLL_CLOEXEC);
    must(epfd == -1, "epoll_create1 fails");
#ifndef MENDED
    long result = syscall(SYS_epoll_wait, epfd, &event, 1, 1); /* HERE */
    must(result == -1 && errno == EBADF, "epoll_wait");
#else
    (void)event;
#endif
    return found(-1, -1);
}
