// Watches up to the last descriptor that RLIMIT_NOFILE allows, and creates one loop more than there
// is room for. With -DFIXED: half as many.
#include "finding.h"
#include <sys/resource.h>

int main(void)
{
    struct rlimit limit;
    must(getrlimit(RLIMIT_NOFILE, &limit) == 0, "getrlimit");
    limit.rlim_cur = 64;
    must(setrlimit(RLIMIT_NOFILE, &limit) == 0, "setrlimit");
    int epfd = epoll_create1(EPOLL_CLOEXEC);
#ifdef FIXED
    for (int i = 0; i < 20; i++)
        add(epfd, eventfd(0, EFD_CLOEXEC), EPOLLIN);
#else
    for (int fd; (fd = eventfd(0, EFD_CLOEXEC)) >= 0;)
        add(epfd, fd, EPOLLIN);
    int more = epoll_create1(EPOLL_CLOEXEC); /* HERE */
    must(more == -1 && errno == EMFILE, "epoll_create1");
#endif
    return found(-1, -1);
}
