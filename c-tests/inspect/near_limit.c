/* Few descriptor numbers are left; with `all`, none. */
#include "stuck.h"

int main(int argc, char **argv) {
    struct rlimit limit = {64, 64};
    int epfd = epoll_create1(EPOLL_CLOEXEC);
    setrlimit(RLIMIT_NOFILE, &limit);
    while (eventfd(0, EFD_CLOEXEC) >= 0) continue;
    if (argc < 2 || strcmp(argv[1], "all") != 0) close(63), close(62);
    is_ready(epfd);
    serve(epfd, NULL);
}
