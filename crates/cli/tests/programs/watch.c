// Two epoll instances, one of which has two descriptors. A pipe is watched, and another one that
// was closed while a dup keeps its interest. Prints "ready" and waits until its input ends.
#include <stdio.h>
#include <sys/epoll.h>
#include <unistd.h>

int main(void) {
    int pipes[4];
    int first = epoll_create1(EPOLL_CLOEXEC), second = epoll_create1(0);
    if (first < 0 || second < 0 || pipe(pipes) != 0 || pipe(pipes + 2) != 0 || dup(second) < 0 || dup(pipes[2]) < 0)
        return 1;
    struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.fd = pipes[0]};
    if (epoll_ctl(first, EPOLL_CTL_ADD, pipes[0], &event) != 0)
        return 1;
    event.data.fd = pipes[2];
    if (epoll_ctl(first, EPOLL_CTL_ADD, pipes[2], &event) != 0)
        return 1;
    close(pipes[2]);
    struct epoll_event got;
    if (epoll_wait(first, &got, 1, 0) != 0)
        return 1;
    printf("ready\n");
    fflush(stdout);
    char byte;
    return read(0, &byte, 1) == 0 ? 0 : 1;
}
