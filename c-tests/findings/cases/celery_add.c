// celery's workers add what they already watch again and again: 1,200 times EEXIST, for the events
// and the data that are in force. An argument says what the calls ask for. The last call is at
// HERE, and all come from one place.
#include "../finding.h"

static int epfd, fd;

static int add_again(unsigned events, unsigned long long data)
{
    struct epoll_event event = {.events = events, .data.u64 = data};
    return epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &event); /* HERE */
}

int main(int count, char **arguments)
{
    const char *mode = count > 1 ? arguments[1] : "same";
    unsigned first = EPOLLIN, later = EPOLLIN;
    unsigned long long data = 7;
    int times = 1200, changes = -1;
    struct epoll_event event;
    if (strcmp(mode, "all") == 0)
        first = later = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLPRI | EPOLLET | EPOLLERR | EPOLLHUP;
    if (strcmp(mode, "events") == 0)
        later = EPOLLIN | EPOLLOUT;
    if (strcmp(mode, "edge") == 0)
        later = EPOLLIN | EPOLLET;
    if (strcmp(mode, "data") == 0)
        data = 8;
    if (strcmp(mode, "later") == 0)
        changes = 3;
    if (strcmp(mode, "disarmed") == 0)
        first = later = EPOLLIN | EPOLLONESHOT;
    epfd = epoll_create1(EPOLL_CLOEXEC);
    fd = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);
    event = (struct epoll_event){.events = first, .data.u64 = 7};
    must(epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &event) == 0, "EPOLL_CTL_ADD");
    if (strcmp(mode, "disarmed") == 0)
        must(epoll_wait(epfd, &event, 1, 0) == 1, "epoll_wait");
    for (int i = 0; i < times; i++)
        must(add_again(changes >= 0 && i >= changes ? EPOLLIN | EPOLLPRI : later, data) == -1 && errno == EEXIST, "EEXIST");
    return found(epfd, fd);
}
