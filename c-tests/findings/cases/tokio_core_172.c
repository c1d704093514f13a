// tokio-core #172 (PollEvented does not deregister): a descriptor was duplicated, registered and
// dropped, which closed it. The next duplicate got the same number. For the kernel this is the same
// pair as before, so its registration failed with EEXIST, which cancelled the future that needed
// it.
#include "../finding.h"

int main(void)
{
    int epfd = epoll_create1(EPOLL_CLOEXEC), original = eventfd(0, EFD_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET};
    int first = dup(original);
    must(epoll_ctl(epfd, EPOLL_CTL_ADD, first, &event) == 0, "EPOLL_CTL_ADD");
    must(epoll_wait(epfd, &event, 1, 0) == 1, "epoll_wait");
    close(first); /* HERE */
    int second = dup(original);
    must(second == first, "the same number");
    must(epoll_ctl(epfd, EPOLL_CTL_ADD, second, &event) == -1 && errno == EEXIST, "EPOLL_CTL_ADD");
    close(second);
    must(epoll_wait(epfd, &event, 1, 0) == 0, "epoll_wait");
    return found(epfd, first);
}
