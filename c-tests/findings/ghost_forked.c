// A forked child keeps what its parent has closed: the parent gets events for data that it can no
// longer read (h2o #1427, manticoresearch #4057). Fixed: DEL before close.
#include "finding.h"
#include <sys/socket.h>
#include <sys/wait.h>

int main(void)
{
    int pair[2], until[2];
    struct epoll_event event;
    must(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0 && pipe(until) == 0, "socketpair");
    int epfd = epoll_create1(EPOLL_CLOEXEC);
    add(epfd, pair[0], EPOLLIN);
    if (fork() == 0) {
        char byte;
        close(until[1]);
        // It handles the connection for as long as the parent lives.
        while (read(until[0], &byte, 1) > 0)
            ;
        _exit(0);
    }
#ifdef FIXED
    must(epoll_ctl(epfd, EPOLL_CTL_DEL, pair[0], NULL) == 0, "EPOLL_CTL_DEL");
    close(pair[0]);
    must(write(pair[1], "x", 1) == 1 && epoll_wait(epfd, &event, 1, 1) == 0, "epoll_wait");
#else
    close(pair[0]); /* HERE */
    must(write(pair[1], "x", 1) == 1 && epoll_wait(epfd, &event, 1, 1000) == 1, "epoll_wait");
    must(event.data.fd == pair[0], "the ghost's event");
#endif
    return found(epfd, pair[0]);
}
