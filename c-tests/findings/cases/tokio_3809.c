// tokio #3809 (epoll_fd leaks to child processes; kata-containers #2035): mio created its instance
// with EPOLL_CLOEXEC, and a duplicate of it by dup(), which has no such flag. Every program that
// was started by fork and exec got the duplicate: a container's first process had a descriptor of
// its runtime's event loop.
#include "../finding.h"
#include <sys/wait.h>

int main(void)
{
    int epfd = epoll_create1(EPOLL_CLOEXEC); /* HERE */
    int registry = dup(epfd);
    add(registry, eventfd(1, EFD_CLOEXEC), EPOLLIN | EPOLLRDHUP | EPOLLET);
    pid_t child = fork();
    if (child == 0) {
        char *arguments[] = {"true", NULL}, *environment[] = {NULL};
        execve("/bin/true", arguments, environment);
        _exit(1);
    }
    int status;
    must(waitpid(child, &status, 0) == child && status == 0, "the child");
    struct epoll_event event;
    must(epoll_wait(epfd, &event, 1, 1000) == 1, "epoll_wait");
    return found(registry, -1);
}
