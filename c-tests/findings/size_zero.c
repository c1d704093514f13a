// epoll_create refuses a size of 0. Fixed: epoll_create1.
#include "finding.h"

int main(void)
{
#ifdef FIXED
    int epfd = epoll_create1(EPOLL_CLOEXEC);
    must(epfd >= 0, "epoll_create1");
#else
    int epfd = epoll_create(0); /* HERE */
    must(epfd == -1 && errno == EINVAL, "epoll_create");
#endif
    return found(-1, -1);
}
