// Four interests; some may be refused for lack of room.
#include "finding.h"

int main(void)
{
    int epfd = epoll_create1(EPOLL_CLOEXEC);
    for (int i = 0; i < 4; i++) {
        int fd = eventfd(0, EFD_CLOEXEC);
        struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
        must(epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &event) == 0 || errno == ENOSPC, "EPOLL_CTL_ADD");
    }
    return found(epfd, -1);
}
