// pantavisor #699 (and likewise libevent #560): a child that was started keeps its copy of a pipe's
// end. The parent closes its own end before it deletes the interest: EPOLL_CTL_DEL fails with
// EBADF, and EPOLLHUP arrives in each round. With -DNO_DEL: it is never deleted. With -DSOCKET in
// addition: a unix socket, which the child also has. With -DFIXED: EPOLL_CTL_DEL comes first.
#include "../burns.h"
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

int main(void)
{
    int epfd = epoll_create1(EPOLL_CLOEXEC), ends[2];
#ifdef SOCKET
    must(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0, "socketpair");
#else
    must(pipe(ends) == 0, "pipe");
#endif
    struct epoll_event event = {.events = EPOLLIN, .data.fd = ends[0]};
    must(epoll_ctl(epfd, EPOLL_CTL_ADD, ends[0], &event) == 0, "EPOLL_CTL_ADD"); /* ADDED */
    pid_t child = fork();
    must(child >= 0, "fork");
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        close(ends[1]);
        for (;;)
            pause();
    }
    must(write(ends[1], "pid", 3) == 3, "write");
    close(ends[1]);
    struct since since = begin();
    struct epoll_event events[8];
    int is_open = 1;
    while (goes_on(&since, 200)) {
        int n = epoll_wait(epfd, events, 8, 50);
        if (n == 1 && is_open) {
            char bytes[8];
            must(read(ends[0], bytes, sizeof bytes) == 3, "read");
#ifdef FIXED
            must(epoll_ctl(epfd, EPOLL_CTL_DEL, ends[0], NULL) == 0, "EPOLL_CTL_DEL");
#endif
            close(ends[0]); /* HERE */
#if !defined FIXED && !defined NO_DEL
            must(epoll_ctl(epfd, EPOLL_CTL_DEL, ends[0], NULL) == -1 && errno == EBADF, "EPOLL_CTL_DEL");
#endif
            is_open = 0;
        }
    }
    int status = found(epfd, ends[0]);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    return status;
}
