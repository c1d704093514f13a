/* The descriptor of an interest is closed, and a copy keeps its file open. `closed`: nothing else.
 * `other`: another file has its number. `eventfd`: another eventfd has its number, with the same
 * inode. `awake`: the file is ready, and the loop spins on it. */
#include "stuck.h"

int main(int argc, char **argv) {
    const char *kind = argc > 1 ? argv[1] : "";
    int pair[2], epfd = epoll_create1(EPOLL_CLOEXEC);
    if (strcmp(kind, "eventfd") == 0) pair[0] = eventfd(0, EFD_CLOEXEC);
    else if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) abort();
    add(epfd, pair[0], EPOLLIN);
    int copy = fcntl(pair[0], F_DUPFD_CLOEXEC, 100);
    if (copy < 0) abort();
    close(pair[0]);
    if (strcmp(kind, "other") == 0 && open("/dev/null", O_RDONLY | O_CLOEXEC) != pair[0]) abort();
    if (strcmp(kind, "eventfd") == 0 && eventfd(0, EFD_CLOEXEC) != pair[0]) abort();
    if (strcmp(kind, "awake") == 0 && write(pair[1], "x", 1) != 1) abort();
    is_ready(pair[0]);
    serve(epfd, NULL);
}
