/* A program without any error, for tools that look for errors: valgrind and the sanitizers. Threads
 * with one instance each create, watch, copy and close descriptors, and fork children that wait
 * once and _exit. With an argument the heap is misused at the end, which an address checker must
 * find as it does without the library. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

enum { THREADS = 4, ROUNDS = 24 };

static void *work(void *nothing) {
    struct epoll_event out[4];
    int epfd = epoll_create1(EPOLL_CLOEXEC);
    for (int round = 0; round < ROUNDS; round++) {
        int fd = eventfd(1, EFD_CLOEXEC);
        struct epoll_event event;
        memset(&event, 0, sizeof event);
        event.events = EPOLLIN;
        event.data.fd = fd;
        if (epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &event) != 0 || epoll_wait(epfd, out, 4, -1) != 1) abort();
        int copy = dup(fd);
        if (dup2(copy, fd) != fd) abort();
        /* The kernel removes the interest only with the last descriptor of its file. */
        epoll_ctl(epfd, EPOLL_CTL_DEL, fd, NULL);
        close(copy);
        close(fd);
        free(malloc(100));
        if (round % 8 == 0) {
            pid_t child = fork();
            if (child == 0) _exit(epoll_wait(epfd, out, 4, 0));
            int status = -1;
            if (waitpid(child, &status, 0) != child || status != 0) abort();
        }
    }
    close(epfd);
    return nothing;
}

int main(int count, char **words) {
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) pthread_create(&threads[i], NULL, work, NULL);
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    if (count > 1) {
        char *volatile bytes = malloc(strlen(words[1]));
        bytes[strlen(words[1])] = 0;
        free(bytes);
    }
    puts("done");
    return 0;
}
