// Produces something of each kind that a report has: instances that are left, interests, waits that
// block, with and without events, calls that fail, descriptors of several kinds that stay open.
//   everything [WAITS]
#include <fcntl.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

static void leave_files(int count)
{
    for (int i = 0; i < count; i++)
        open("/dev/null", O_RDONLY);
}

int main(int argc, char **argv)
{
    int epfd = epoll_create(1);
    int events = eventfd(0, EFD_NONBLOCK);
    int pair[2];
    if (epfd < 0 || events < 0 || socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0)
        return 1;
    struct epoll_event event = {.events = EPOLLIN, .data.fd = events};
    epoll_ctl(epfd, EPOLL_CTL_ADD, events, &event);
    epoll_ctl(epfd, EPOLL_CTL_ADD, pair[0], &event);
    epoll_ctl(epfd, EPOLL_CTL_ADD, pair[0], &(struct epoll_event){.events = EPOLLIN | EPOLLRDHUP});
    struct epoll_event got[4];
    epoll_wait(epfd, got, 4, 0);
    epoll_wait(epfd, got, 4, 1);
    if (eventfd_write(events, 1) != 0)
        return 1;
    epoll_wait(epfd, got, 4, 1000);
    for (int more = argc > 1 ? atoi(argv[1]) : 0; more > 0; more--)
        epoll_wait(epfd, got, 4, 0);
    leave_files(3);
    epoll_create1(EPOLL_CLOEXEC);
    return 0;
}
