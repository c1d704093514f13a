// A dup is added and closed; another dup gets its number and cannot be added: it is the same file
// with the same number, whose interest was never deleted (tokio-core #172, janet #1769). Fixed: DEL
// before close.
#include "finding.h"

int main(void)
{
    int epfd = epoll_create1(EPOLL_CLOEXEC), file = event(0), fd = dup(file);
    must(fd >= 0, "dup");
    add(epfd, fd, EPOLLIN);
#ifdef FIXED
    must(epoll_ctl(epfd, EPOLL_CTL_DEL, fd, NULL) == 0, "EPOLL_CTL_DEL");
    close(fd);
#else
    close(fd); /* HERE */
#endif
    must(dup(file) == fd, "the number is given again");
    struct epoll_event interest = {.events = EPOLLIN, .data.fd = fd};
    int added = epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &interest);
#ifdef FIXED
    must(added == 0, "EPOLL_CTL_ADD");
#else
    must(added == -1 && errno == EEXIST, "EPOLL_CTL_ADD");
#endif
    return found(epfd, fd);
}
