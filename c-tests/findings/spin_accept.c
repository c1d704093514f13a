// A listening socket whose accept fails because no descriptor is free (EMFILE) stays ready: the
// server loops at full speed without serving any client. With -DFIXED it gives up a descriptor that
// it holds in reserve, accepts the connection and closes it.
#include "tcp.h"
#include "burns.h"
#include <sys/resource.h>

int main(void)
{
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = 64;
    must(setrlimit(RLIMIT_NOFILE, &limit) == 0, "setrlimit");
    int epfd = epoll_create1(EPOLL_CLOEXEC), listener = listens(SOCK_NONBLOCK, 16);
    add(epfd, listener, EPOLLIN);
    connects();
    int last = -1, full;
    while ((full = open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0)
        last = full;
    must(errno == EMFILE, "EMFILE");
    struct epoll_event events[8];
    for (struct since since = begin(); goes_on(&since, 600);) {
        if (epoll_wait(epfd, events, 8, 50) != 1) /* HERE */
            continue;
        int connection = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
#ifdef FIXED
        if (connection < 0 && errno == EMFILE) {
            close(last);
            close(accept4(listener, NULL, NULL, SOCK_CLOEXEC));
            last = open("/dev/null", O_RDONLY | O_CLOEXEC);
        }
#else
        must(connection < 0 && errno == EMFILE, "accept");
#endif
    }
    close(last);
    return found(epfd, listener);
}
