/* 10,000 interests: both ends of 5,000 connections over loopback. */
#include "stuck.h"

int main(void) {
    struct rlimit limit;
    int from = listening(), epfd = epoll_create1(EPOLL_CLOEXEC), server = -1;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    for (int connection = 0; connection < 5000; connection++) {
        int client = connected(from);
        server = accepted(from);
        if (add(epfd, client, EPOLLIN) != 0 || add(epfd, server, EPOLLIN | EPOLLET) != 0) abort();
    }
    is_ready(server);
    serve(epfd, NULL);
}
