// GaiaPlatform #723: after shutdown(SHUT_WR) a socket stays writable, and its interest in EPOLLOUT
// is not changed: the loop spins until the client closes. Meanwhile the client lives and reads
// nothing. With -DTCP: the same with TCP. With -DFIXED: the mask is 0 from then on.
#include "../tcp.h"
#include "../burns.h"

int main(void)
{
    int epfd = epoll_create1(EPOLL_CLOEXEC), pair[2];
#ifdef TCP
    int listener = listens(0, 16);
    pair[1] = connects();
    pair[0] = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    must(pair[0] >= 0, "accept4");
#else
    must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0, "socketpair");
#endif
    struct epoll_event event = {.events = EPOLLOUT, .data.fd = pair[0]};
    must(epoll_ctl(epfd, EPOLL_CTL_ADD, pair[0], &event) == 0, "EPOLL_CTL_ADD"); /* ADDED */
    int is_sent = 0;
    struct since since = begin();
    struct epoll_event events[8];
    while (goes_on(&since, 400)) {
        int n = epoll_wait(epfd, events, 8, 50); /* HERE */
        if (n == 1 && !is_sent) {
            must(write(pair[0], "tuples", 6) == 6 && shutdown(pair[0], SHUT_WR) == 0, "the answer");
            is_sent = 1;
#ifdef FIXED
            event.events = 0;
            must(epoll_ctl(epfd, EPOLL_CTL_MOD, pair[0], &event) == 0, "EPOLL_CTL_MOD");
#endif
        }
    }
    return found(epfd, pair[0]);
}
