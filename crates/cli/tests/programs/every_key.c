#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>
// Makes a report, a recording and a log that have nearly every key.
int main(void) {
    int loops[9];
    for (int i = 0; i < 9; i++) loops[i] = epoll_create(1);
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0) return 1;
    struct epoll_event event = {.events = EPOLLIN, .data.fd = ends[0]};
    epoll_ctl(loops[0], EPOLL_CTL_ADD, ends[0], &event);
    epoll_ctl(loops[0], EPOLL_CTL_ADD, ends[1], &event);
    epoll_ctl(loops[0], EPOLL_CTL_ADD, ends[0], &event);
    epoll_ctl(loops[0], EPOLL_CTL_MOD, ends[0], &event);
    epoll_wait(loops[0], &event, 1, 0);
    (void)!write(ends[1], "x", 1);
    epoll_wait(loops[0], &event, 1, 0);
    int copy = dup(ends[0]);
    close(ends[0]);
    epoll_wait(loops[0], &event, 1, 1);
    close(copy);
    close(copy);
    return 0;
}
