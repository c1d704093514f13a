// moonbitlang/async #571 (stale events can wake the wrong handle): a pipe that a child has
// inherited was closed without EPOLL_CTL_DEL. The next pipe got its number and was registered, too.
// Events of the old pipe woke the task that waited for the new one, whose read then failed with
// EAGAIN.
#include "../finding.h"
#include <sys/wait.h>

int main(void)
{
    int epfd = epoll_create1(EPOLL_CLOEXEC), old[2], new[2], gate[2];
    must(pipe2(old, O_CLOEXEC | O_NONBLOCK) == 0 && pipe2(gate, O_CLOEXEC) == 0, "pipe2");
    add(epfd, old[0], EPOLLIN | EPOLLET);
    if (fork() == 0) {
        char byte;
        close(gate[1]);
        _exit(read(gate[0], &byte, 1) != 0);
    }
    close(gate[0]);
    int number = old[0];
    close(number);
    must(pipe2(new, O_CLOEXEC | O_NONBLOCK) == 0 && new[0] == number, "the same number");
    add(epfd, new[0], EPOLLIN | EPOLLET); /* HERE */
    must(write(old[1], "x", 1) == 1, "the old pipe");
    struct epoll_event event;
    char byte;
    must(epoll_wait(epfd, &event, 1, -1) == 1 && event.data.fd == new[0], "an event for the new pipe");
    must(read(new[0], &byte, 1) == -1 && errno == EAGAIN, "that is not the new pipe's");
    return found(epfd, number);
}
