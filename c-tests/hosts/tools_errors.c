/* Errors that a memory checker must report, and no others: an event half of which is undefined
 * (programs set only data.fd), a bad event address, a descriptor that stays open, a stream that is
 * not closed, and allocations whose only pointers are in the kernel, in event data. No table of the
 * library may hide a leak, and the library's own reads of an event are no errors. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

__attribute__((noinline)) static void half_an_event(int epfd, int fd) {
    struct epoll_event event, out[4];
    event.events = EPOLLIN;
    event.data.fd = fd;
    epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &event);
    event.events = EPOLLIN | EPOLLET;
    epoll_ctl(epfd, EPOLL_CTL_MOD, fd, &event);
    epoll_wait(epfd, out, 4, 0);
}

__attribute__((noinline)) static void leaks(int epfd, int fd) {
    struct epoll_event event, out[4];
    memset(&event, 0, sizeof event);
    event.events = EPOLLIN;
    event.data.ptr = malloc(1000);
    epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &event);
    epoll_wait(epfd, out, 4, 0);
    epoll_ctl(epfd, EPOLL_CTL_MOD, fd, &event);
    memset(&event, 0, sizeof event);
    memset(out, 0, sizeof out);
}

/* Frames of the calls above lie here. */
__attribute__((noinline)) static void overwrite(void) {
    volatile char bytes[32768];
    for (unsigned i = 0; i < sizeof bytes; i++) bytes[i] = 0;
}

int main(void) {
    int epfd = epoll_create1(0);
    for (int i = 0; i < 20; i++) leaks(epfd, eventfd(1, 0));
    half_an_event(epfd, eventfd(1, 0));
    epoll_ctl(epfd, EPOLL_CTL_ADD, dup(epfd), (void *)8);
    if (fopen("/dev/null", "r") == NULL) return 1;
    overwrite();
    puts("done");
    return 0;
}
