// Descriptors run out. The argument says how: sockets, pipes or dups that leak; a server that
// watches too many connections (busy); they do not run out (ok).
#include "finding.h"
#include <sys/resource.h>
#include <sys/socket.h>

int main(int count, char **arguments)
{
    const char *mode = count > 1 ? arguments[1] : "sockets";
    struct rlimit limit = {48, 48};
    must(setrlimit(RLIMIT_NOFILE, &limit) == 0, "setrlimit");
    int epfd = epoll_create1(EPOLL_CLOEXEC), made[64], failed = 0;
    for (int i = 0; i < 64 && strcmp(mode, "ok") != 0; i++) {
        int pair[2];
        made[i] = -1;
        if (strcmp(mode, "sockets") == 0)
            made[i] = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0); /* SOCKET */
        else if (strcmp(mode, "dups") == 0)
            made[i] = fcntl(0, F_DUPFD_CLOEXEC, 3); /* DUP */
        else if (strcmp(mode, "instances") == 0)
            made[i] = epoll_create1(EPOLL_CLOEXEC); /* CREATE */
        else if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0) { /* PAIR */
            add(epfd, pair[0], EPOLLIN);
            add(epfd, pair[1], EPOLLIN);
            made[i] = pair[0];
        }
        failed += made[i] < 0;
    }
    must((failed > 0) == (strcmp(mode, "ok") != 0), "EMFILE");
    for (int fd = 4; fd < 48; fd++)
        close(fd);
    return found(-1, -1);
}
