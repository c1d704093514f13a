/* An event loop that runs until it is killed: every 20 ms it waits, adds an interest and deletes
 * it. It prints its pid, and each call that fails. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

int main(void) {
    struct epoll_event event = {.events = EPOLLIN}, out[4];
    int epfd = epoll_create1(0), quiet = eventfd(0, 0);
    printf("pid %d\n", (int)getpid());
    for (;;) {
        if (epoll_ctl(epfd, EPOLL_CTL_ADD, quiet, &event) != 0) printf("epoll_ctl: %s\n", strerror(errno));
        if (epoll_wait(epfd, out, 4, 20) < 0) printf("epoll_wait: %s\n", strerror(errno));
        epoll_ctl(epfd, EPOLL_CTL_DEL, quiet, NULL);
        fflush(stdout);
    }
}
