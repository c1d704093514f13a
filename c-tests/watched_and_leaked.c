/* Leaves pipes open at the end. An instance watches their read ends. Prints the numbers of the
 * write ends, which it does not. */
#include <assert.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <unistd.h>

int main(void)
{
    int epfd = epoll_create1(EPOLL_CLOEXEC);
    for (int pipes = 0; pipes < 12; pipes++) {
        int ends[2];
        struct epoll_event event = {.events = EPOLLIN};
        int failed = pipe(ends);
        assert(failed == 0);
        event.data.fd = ends[0];
        failed = epoll_ctl(epfd, EPOLL_CTL_ADD, ends[0], &event);
        assert(failed == 0);
        printf("%d ", ends[1]);
    }
    puts("");
    return 0;
}
