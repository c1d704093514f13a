// Another file gets the number of a ghost and is added: two files send events with one number.
#include "finding.h"

int main(void)
{
    int epfd = epoll_create1(EPOLL_CLOEXEC), fd = event(1), kept = dup(fd);
    struct epoll_event events[4];
    must(kept >= 0, "dup");
    add(epfd, fd, EPOLLIN);
#ifdef FIXED
    must(epoll_ctl(epfd, EPOLL_CTL_DEL, fd, NULL) == 0, "EPOLL_CTL_DEL");
#endif
    close(fd);
    must(event(0) == fd, "the number is given again");
    struct epoll_event interest = {.events = EPOLLIN, .data.fd = fd};
    int added = epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &interest); /* HERE */
    must(added == 0, "EPOLL_CTL_ADD");
    int events_of_the_old = epoll_wait(epfd, events, 4, 0);
#ifdef FIXED
    must(events_of_the_old == 0, "epoll_wait");
#else
    must(events_of_the_old == 1 && events[0].data.fd == fd, "epoll_wait");
#endif
    return found(epfd, fd);
}
