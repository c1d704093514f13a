/* Leaks sockets, and ends in the way that its first argument names. With a second argument it
 * leaves no descriptor free, and its limit cannot be raised (hard = soft). */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "killed.h"

/* Slowly enough that the end comes soon after the last one, on any machine. */
static int leak(void) {
    usleep(2000);
    return socket(AF_INET, SOCK_STREAM, 0);
}

static int instance(void) { return epoll_create1(EPOLL_CLOEXEC); }

int main(int count, char **words) {
    const char *way = count > 1 ? words[1] : "exit";
    struct rlimit limit = {64, 64};
    struct rlimit no_core = {0, 0};
    setrlimit(RLIMIT_CORE, &no_core);
    if (count > 2)
        setrlimit(RLIMIT_NOFILE, &limit);
    close(dup(0));
    struct epoll_event event = {.events = EPOLLIN};
    int epfd = instance();
    epoll_wait(epfd, &event, 1, 0);
    for (int i = 0; i < 30; i++)
        leak();
    /* The same call site for all that fail. */
    while (count > 2 && leak() >= 0)
        ;
    if (!strcmp(way, "exit"))
        exit(0);
    if (!strcmp(way, "_exit"))
        _exit(0);
    if (!strcmp(way, "quick_exit"))
        quick_exit(0);
    if (!strcmp(way, "pthread_exit"))
        pthread_exit(0);
    if (!strcmp(way, "exit_group"))
        syscall(SYS_exit_group, 0);
    if (!strcmp(way, "abort"))
        abort();
    if (!strcmp(way, "SIGTERM"))
        be_killed_by(SIGTERM);
    if (!strcmp(way, "SIGSEGV"))
        be_killed_by(SIGSEGV);
    if (!strcmp(way, "SIGKILL"))
        be_killed_by(SIGKILL);
    return 99;
}
