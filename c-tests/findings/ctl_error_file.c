// Tries to watch a regular file, which is impossible. Fixed: what is no pipe or socket is read
// without waiting.
#include "finding.h"
#include <sys/stat.h>

int main(void)
{
    int epfd = epoll_create1(EPOLL_CLOEXEC), fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    struct epoll_event interest = {.events = EPOLLIN, .data.fd = fd};
    struct stat status;
    must(fd >= 0 && fstat(fd, &status) == 0, "open");
#ifdef FIXED
    if (S_ISREG(status.st_mode))
        return found(epfd, fd);
#endif
    int result = epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &interest); /* HERE */
    must(result == -1 && errno == EPERM, "EPOLL_CTL_ADD");
    return found(epfd, fd);
}
