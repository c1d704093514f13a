// A listening socket whose accept fails for want of descriptors (EMFILE) is ready for ever: the server turns at full speed
// without serving anybody. With -DMENDED: a descriptor in reserve is given up to accept the connection and close it.
#include "finding.h"
#include "clock.h"
#include <arpa/inet.h>
#include <sys/resource.h>

int main(void)
{
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = 64;
    must(setrlimit(RLIMIT_NOFILE, &limit) == 0, "setrlimit");
    int epfd = epoll_create1(EPOLL_CLOEXEC), listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    must(bind(listener, (struct sockaddr *)&address, length) == 0 && listen(listener, 16) == 0, "listen");
    getsockname(listener, (struct sockaddr *)&address, &length);
    add(epfd, listener, EPOLLIN);
    int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    must(connect(client, (struct sockaddr *)&address, length) == 0, "connect");
    int last = -1, full;
    while ((full = open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0)
        last = full;
    must(errno == EMFILE, "EMFILE");
    struct epoll_event events[8];
    for (struct since since = begin(); runs(&since, 600);) {
        if (epoll_wait(epfd, events, 8, 50) != 1) /* HERE */
            continue;
        int connection = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
#ifdef MENDED
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
