/* A program for a debugger, with each call on a separate line. With an argument it waits until it
 * is killed. */
#include <fcntl.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

int once(int epfd) {
    struct epoll_event out[4];
    int fd = eventfd(1, 0);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &event);
    int events = epoll_wait(epfd, out, 4, 0);
    close(fd);
    return events;
}

int main(int count, char **words) {
    int epfd = epoll_create1(0);
    int events = once(epfd);
    int copy = dup(epfd);
    if (count > 1) {
        struct epoll_event out[4];
        puts(words[1]);
        fflush(stdout);
        events += epoll_wait(epfd, out, 4, 4000);
    }
    close(copy);
    close(epfd);
    printf("%d events\n", events);
    return 0;
}
