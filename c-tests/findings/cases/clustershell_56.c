// clustershell #56 (epoll.register() when stdin is a plain file): clush watched its standard input
// with epoll, which accepts no regular file: EPERM. With `clush <file` nothing worked.
#include "../finding.h"

int main(void)
{
    char path[] = "/tmp/clustershell_56.XXXXXX";
    int file = mkstemp(path);
    must(file >= 0 && unlink(path) == 0 && dup2(file, 0) == 0, "a plain file as standard input");
    int epfd = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN | EPOLLHUP, .data.fd = 0};
    must(epoll_ctl(epfd, EPOLL_CTL_ADD, 0, &event) == -1 && errno == EPERM, "EPERM"); /* HERE */
    return found(epfd, 0);
}
