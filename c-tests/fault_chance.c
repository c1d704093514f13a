/* 100,000 waits; prints the ordinals of those that failed. */
#include "check.h"

int main(int argc, char **argv) {
    struct epoll_event event;
    int epfd = epoll_create1(EPOLL_CLOEXEC), calls = argc > 1 ? atoi(argv[1]) : 100000;
    if (epfd < 0) return 1;
    for (int i = 1; i <= calls; i++) {
        if (epoll_wait(epfd, &event, 1, 0) == 0) continue;
        if (errno != EINTR) return 1;
        printf("%d\n", i);
    }
    return 0;
}
