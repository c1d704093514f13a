/* Creates an instance and an interest three calls deep, compiled without frame pointers, and does
 * the same in a signal handler on the smallest stack that the system allows. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

static int made = -1;

__attribute__((noinline)) static int innermost(void)
{
    int epfd = epoll_create1(EPOLL_CLOEXEC); /* INNERMOST */
    struct epoll_event event = {.events = EPOLLIN};
    int fd = eventfd(0, EFD_CLOEXEC);
    if (epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &event))
        exit(1);
    return epfd;
}

__attribute__((noinline)) static int middle(void)
{
    int epfd = innermost(); /* MIDDLE */
    made++;
    return epfd;
}

__attribute__((noinline)) static int outermost(void)
{
    int epfd = middle(); /* OUTERMOST */
    made++;
    return epfd;
}

static void handler(int signal)
{
    (void)signal;
    close(outermost());
}

int main(void)
{
    stack_t small = {.ss_sp = malloc(16384), .ss_size = 8192};
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_ONSTACK};
    if (sigaltstack(&small, NULL) || sigaction(SIGUSR1, &action, NULL) || raise(SIGUSR1))
        return 1;
    for (volatile int i = 0; i < 3; i++)
        outermost(); /* MAIN */
    return 0;
}
