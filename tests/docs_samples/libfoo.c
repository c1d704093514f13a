/* A library that keeps two loops for the life of the process. */
#include <sys/epoll.h>

static int loops[2];

__attribute__((constructor)) static void start(void) {
    loops[0] = epoll_create1(EPOLL_CLOEXEC);
    loops[1] = epoll_create1(EPOLL_CLOEXEC);
}
