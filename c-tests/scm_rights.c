/* An instance and a watched descriptor travel through SCM_RIGHTS to a child and back, with other
 * numbers. */
#include "check.h"

static void send_two(int channel, int first, int second) {
    union {
        char room[CMSG_SPACE(2 * sizeof(int))];
        struct cmsghdr header;
    } control;
    memset(&control, 0, sizeof control);
    struct iovec part = {"x", 1};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    control.header.cmsg_level = SOL_SOCKET;
    control.header.cmsg_type = SCM_RIGHTS;
    control.header.cmsg_len = CMSG_LEN(2 * sizeof(int));
    memcpy(CMSG_DATA(&control.header), (int[]){first, second}, 2 * sizeof(int));
    QUIETLY(sendmsg(channel, &message, 0) == 1); /* the other side may send first */
}

static void receive_two(int channel, int *fds) {
    union {
        char room[CMSG_SPACE(2 * sizeof(int))];
        struct cmsghdr header;
    } control;
    char byte;
    struct iovec part = {&byte, 1};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    GIVES(recvmsg(channel, &message, MSG_CMSG_CLOEXEC), 1);
    memcpy(fds, CMSG_DATA(&control.header), 2 * sizeof(int));
}

int main(void) {
    int channel[2], got[2];
    EQUAL(socketpair(AF_UNIX, SOCK_STREAM, 0, channel), 0);
    pid_t child = fork();
    if (child == 0) {
        /* It never saw these descriptors being created. */
        close(channel[0]);
        receive_two(channel[1], got);
        say("     the child got %d and %d\n", got[0], got[1]);
        GIVES(events_of(got[0], 0), 0);
        GIVES(eventfd_write(got[1], 1), 0);
        GIVES(events_of(got[0], 0), EPOLLIN);
        GIVES(add(got[0], channel[1], EPOLLOUT), 0);
        GIVES(add(got[0], got[1], EPOLLIN), 0);
        GIVES(epoll_ctl(got[0], EPOLL_CTL_DEL, channel[1], NULL), 0);
        LEDGER_AGREES();
        send_two(channel[1], got[0], got[1]);
        GIVES(close(got[0]), 0);
        GIVES(close(got[1]), 0);
        LEDGER_AGREES();
        exit(checks_failed ? 1 : 12);
    }
    close(channel[1]);
    int epfd = WORKS(epoll_create1(0)), pad = WORKS(dup(0)), fd = WORKS(eventfd(0, EFD_NONBLOCK));
    GIVES(add(epfd, fd, EPOLLIN), 0);
    send_two(channel[0], epfd, fd);
    EQUAL(status_of(child), 12);
    LEDGER_AGREES();
    /* Now they are only in the socket's queue. */
    GIVES(close(epfd), 0);
    GIVES(close(fd), 0);
    GIVES(close(pad), 0);
    LEDGER_AGREES();
    receive_two(channel[0], got);
    say("     the parent got back %d and %d\n", got[0], got[1]);
    struct epoll_event events[4];
    GIVES(epoll_wait(got[0], events, 4, 0), 2);
    LEDGER_AGREES();
    GIVES(dup2(got[0], 40), 40);
    GIVES(close(got[0]), 0);
    GIVES(epoll_wait(40, events, 4, 0), 2);
    LEDGER_AGREES();
    GIVES(close(got[1]), 0);
    GIVES(epoll_wait(40, events, 4, 0), 0);
    GIVES(close(40), 0);
    LEDGER_AGREES();
    return verdict();
}
