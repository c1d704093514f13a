// Three watches where epoll_create promised two.
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

int main(void)
{
    int epfd = epoll_create(2);
    for (int i = 0; i < 3; i++) {
        struct epoll_event event = {.events = EPOLLIN};
        epoll_ctl(epfd, EPOLL_CTL_ADD, eventfd(0, 0), &event);
    }
    return close(epfd);
}
