// wingo/fibers #19: the other end of a pipe hangs up, and the handler, which knows only reading and
// errors, arms the one-shot interest again in each round. There is nothing to read, and the
// descriptor stays hung up. With -DDEL_ADD: a level-triggered interest is deleted and added again.
// With -DEDGE: each EPOLL_CTL_MOD makes a new edge. With -DTCP: a connection that was reset. With
// -DFIXED: it is closed.
#include "../tcp.h"
#include "../burns.h"

#if defined DEL_ADD
enum { MASK = EPOLLIN | EPOLLRDHUP };
#elif defined EDGE
enum { MASK = EPOLLIN | EPOLLRDHUP | (int)EPOLLET };
#else
enum { MASK = EPOLLIN | EPOLLRDHUP | EPOLLONESHOT };
#endif

static void arm_again(int epfd, int fd)
{
    struct epoll_event event = {.events = MASK, .data.fd = fd};
#ifdef DEL_ADD
    must(epoll_ctl(epfd, EPOLL_CTL_DEL, fd, NULL) == 0, "EPOLL_CTL_DEL");
    must(epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &event) == 0, "EPOLL_CTL_ADD"); /* ADDED AGAIN */
#else
    must(epoll_ctl(epfd, EPOLL_CTL_MOD, fd, &event) == 0, "EPOLL_CTL_MOD");
#endif
}

int main(void)
{
    int epfd = epoll_create1(EPOLL_CLOEXEC), ends[2];
#ifdef TCP
    int listener = listens(0, 16), client = connects();
    ends[0] = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    must(ends[0] >= 0, "accept4");
    struct epoll_event event = {.events = MASK, .data.fd = ends[0]};
    must(epoll_ctl(epfd, EPOLL_CTL_ADD, ends[0], &event) == 0, "EPOLL_CTL_ADD");
    resets(client);
#else
    must(pipe2(ends, O_CLOEXEC | O_NONBLOCK) == 0, "pipe2");
    struct epoll_event event = {.events = MASK, .data.fd = ends[0]};
    must(epoll_ctl(epfd, EPOLL_CTL_ADD, ends[0], &event) == 0, "EPOLL_CTL_ADD"); /* ADDED */
    must(write(ends[1], "x", 1) == 1, "write");
    close(ends[1]);
#endif
    struct since since = begin();
    struct epoll_event events[8];
    while (goes_on(&since, 400)) {
        int n = epoll_wait(epfd, events, 8, 50); /* HERE */
        for (int i = 0; i < n; i++) {
            char bytes[64];
            if (events[i].events & EPOLLIN && read(ends[0], bytes, sizeof bytes) > 0) {
                arm_again(epfd, ends[0]);
                continue;
            }
#ifdef FIXED
            must(epoll_ctl(epfd, EPOLL_CTL_DEL, ends[0], NULL) == 0, "EPOLL_CTL_DEL");
            close(ends[0]);
#else
            arm_again(epfd, ends[0]);
#endif
        }
    }
    return found(epfd, ends[0]);
}
