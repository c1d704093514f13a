// Passes descriptors over Unix sockets: SCM_RIGHTS, unix(7).
#ifndef PASS_H
#define PASS_H

#include "finding.h"
#include <sys/socket.h>

union rights {
    char bytes[CMSG_SPACE(sizeof(int))];
    struct cmsghdr header;
};

// Sends a copy of `fd` over the socket `by`.
static inline void send_descriptor(int by, int fd)
{
    char data = 'x';
    union rights control = {
        .header = {.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS}};
    struct iovec part = {.iov_base = &data, .iov_len = 1};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
    memcpy(CMSG_DATA(&control.header), &fd, sizeof fd);
    must(sendmsg(by, &message, 0) == 1, "sendmsg");
}

// Receives a descriptor that was sent to the socket `by`, with close-on-exec.
static inline int receive_descriptor(int by)
{
    char data;
    int fd;
    union rights control;
    struct iovec part = {.iov_base = &data, .iov_len = 1};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
    must(recvmsg(by, &message, MSG_CMSG_CLOEXEC) == 1, "recvmsg");
    must(message.msg_controllen >= CMSG_LEN(sizeof fd), "a descriptor");
    memcpy(&fd, CMSG_DATA(&control.header), sizeof fd);
    return fd;
}

#endif
