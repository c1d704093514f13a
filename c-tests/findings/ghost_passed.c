// A copy of a descriptor was sent by SCM_RIGHTS and not received yet: it keeps open what its sender
// has closed.
#include "finding.h"
#include <sys/socket.h>

static void pass(int by, int fd)
{
    char data = 'x';
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr header;
    } control = {.header = {.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS}};
    struct iovec part = {.iov_base = &data, .iov_len = 1};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
    memcpy(CMSG_DATA(&control.header), &fd, sizeof fd);
    must(sendmsg(by, &message, 0) == 1, "sendmsg");
}

int main(void)
{
    int pair[2];
    struct epoll_event event;
    must(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0, "socketpair");
    int epfd = epoll_create1(EPOLL_CLOEXEC), fd = eventfd(1, EFD_CLOEXEC);
    add(epfd, fd, EPOLLIN);
    pass(pair[0], fd);
#ifdef FIXED
    must(epoll_ctl(epfd, EPOLL_CTL_DEL, fd, NULL) == 0, "EPOLL_CTL_DEL");
    close(fd);
    must(epoll_wait(epfd, &event, 1, 1) == 0, "epoll_wait");
#else
    close(fd); /* HERE */
    must(epoll_wait(epfd, &event, 1, 0) == 1, "epoll_wait");
#endif
    return found(epfd, fd);
}
