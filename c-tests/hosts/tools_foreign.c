/* A program that may be built for another C library, or without a loader: it calls much of what the
 * library replaces. With an argument a shell runs that. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

static void *work(void *nothing) {
    struct epoll_event out[2];
    for (int round = 0; round < 50; round++) {
        int epfd = epoll_create1(0), fd = eventfd(1, 0), pair[2], ends[2];
        struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
        if (epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &event) != 0 || epoll_wait(epfd, out, 2, -1) != 1) abort();
        if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0 || pipe2(ends, O_CLOEXEC) != 0) abort();
        int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0), timer = timerfd_create(CLOCK_MONOTONIC, 0), file = open("/dev/null", O_RDWR);
        if (copy < 0 || timer < 0 || file < 0 || dup2(copy, file) != file) abort();
        int all[] = {epfd, fd, pair[0], pair[1], ends[0], ends[1], copy, timer, file};
        for (unsigned i = 0; i < sizeof all / sizeof *all; i++)
            if (close(all[i]) != 0) abort();
    }
    return nothing;
}

int main(int count, char **words) {
    pthread_t threads[3];
    for (int i = 0; i < 3; i++) pthread_create(&threads[i], NULL, work, NULL);
    for (int i = 0; i < 3; i++) pthread_join(threads[i], NULL);
    int status = -1;
    pid_t child = fork();
    if (child == 0) _exit(3);
    if (waitpid(child, &status, 0) != child) abort();
    printf("child %d, preload %s\n", WEXITSTATUS(status), getenv("LD_PRELOAD") ? "yes" : "no");
    fflush(stdout);
    return count > 1 ? WEXITSTATUS(system(words[1])) : 7;
}
