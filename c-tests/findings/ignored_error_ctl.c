// No descriptor is left for an instance, and the program adds to -1. Mended: it looks at what epoll_create1 gave. With an argument
// the descriptors are not used up: epoll_create1 is expected to fail by a fault.
#include "finding.h"
#include <sys/resource.h>

int main(int count, char **arguments)
{
    int fd = event(1);
    struct rlimit limit = {.rlim_cur = (rlim_t)fd + 1, .rlim_max = 4096}, before;
    (void)arguments;
    must(getrlimit(RLIMIT_NOFILE, &before) == 0, "getrlimit");
    limit.rlim_max = before.rlim_max;
    if (count == 1)
        must(setrlimit(RLIMIT_NOFILE, &limit) == 0, "setrlimit");
    int epfd = epoll_create1(EPOLL_CLOEXEC);
    must(epfd == -1, "epoll_create1 fails");
#ifdef MENDED
    return found(-1, fd);
#else
    struct epoll_event interest = {.events = EPOLLIN, .data.fd = fd};
    int result = epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &interest); /* HERE */
    must(result == -1 && errno == EBADF, "EPOLL_CTL_ADD");
    return found(-1, fd);
#endif
}
