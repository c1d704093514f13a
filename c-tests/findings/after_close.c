// Calls on a number that was closed. The argument says which call.
#include "finding.h"
#include <pthread.h>

static int epfd;

static void *closes(void *nothing)
{
    close(epfd); /* THREAD */
    return nothing;
}

int main(int count, char **arguments)
{
    const char *mode = count > 1 ? arguments[1] : "wait";
    struct epoll_event event = {.events = EPOLLIN};
    epfd = epoll_create1(EPOLL_CLOEXEC); /* INSTANCE */
    int fd = eventfd(0, EFD_CLOEXEC), result = 0, shown = fd; /* CREATED */
    add(epfd, fd, EPOLLIN);
    if (strcmp(mode, "wait") == 0 || strcmp(mode, "thread") == 0) {
        shown = epfd;
        if (strcmp(mode, "thread") == 0) {
            pthread_t thread;
            must(pthread_create(&thread, NULL, closes, NULL) == 0, "pthread_create");
            pthread_join(thread, NULL);
        } else {
            close(epfd); /* CLOSED_INSTANCE */
        }
        result = epoll_wait(epfd, &event, 1, 0); /* WAIT */
        must(result == -1 && errno == EBADF, "EBADF");
        return found(-1, shown);
    }
    if (strcmp(mode, "ok") != 0)
        close(fd); /* CLOSED */
    if (strcmp(mode, "dup") == 0)
        result = dup(fd); /* DUP */
    else if (strcmp(mode, "dup2") == 0)
        result = dup2(fd, 60); /* DUP2 */
    else if (strcmp(mode, "fcntl") == 0)
        result = fcntl(fd, F_SETFL, O_NONBLOCK); /* FCNTL */
    else if (strcmp(mode, "copy") == 0)
        result = fcntl(fd, F_DUPFD_CLOEXEC, 9); /* COPY */
    else if (strcmp(mode, "add") == 0)
        result = epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &event); /* ADD */
    else if (strcmp(mode, "del") == 0)
        result = epoll_ctl(epfd, EPOLL_CTL_DEL, fd, NULL); /* DEL */
    else if (strcmp(mode, "probe") == 0)
        result = fcntl(fd, F_GETFD); /* PROBE */
    else
        must(dup(fd) >= 0 && fcntl(999, F_GETFD) == -1, "what was never open");
    must(strcmp(mode, "ok") == 0 || (result == -1 && errno == EBADF), "EBADF");
    return found(-1, shown);
}
