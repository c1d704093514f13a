// The other end of a connection is gone, and its descriptor stays in the interests with a mask of
// 0: EPOLLHUP still arrives, again and again (cups #4605). With -DFIXED the interest is deleted.
#include "finding.h"
#include "burns.h"

int main(void)
{
    int epfd = epoll_create1(EPOLL_CLOEXEC), pair[2];
    must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0, "socketpair");
    add(epfd, pair[0], 0);
    close(pair[1]);
    struct epoll_event events[8];
    for (struct since since = begin(); goes_on(&since, 600);) {
        int n = epoll_wait(epfd, events, 8, 50); /* HERE */
        for (int i = 0; i < n; i++) {
#ifdef FIXED
            must(epoll_ctl(epfd, EPOLL_CTL_DEL, events[i].data.fd, NULL) == 0, "EPOLL_CTL_DEL");
#endif
        }
    }
    return found(epfd, pair[0]);
}
