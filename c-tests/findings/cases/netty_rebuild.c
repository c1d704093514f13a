// netty's workaround for a bug of the JDK (SelectorUtil: "returned prematurely 512 times in a row",
// JDK-6403933): a connection that was reset causes EPOLLHUP and EPOLLERR with a mask of 0, and
// after 512 rounds (here 2048: less churn) everything that is watched moves to a new instance. With
// -DUNREAD: an eventfd that is never read, and the new instance has another number each time. With
// -DFIXED: the descriptor is closed.
#include "../tcp.h"
#include "../burns.h"

static int watches(int fd)
{
    int epfd = epoll_create1(EPOLL_CLOEXEC);
#ifdef UNREAD
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = 0xfeed};
#else
    struct epoll_event event = {.events = 0, .data.fd = fd};
#endif
    must(epfd >= 0 && epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &event) == 0, "EPOLL_CTL_ADD"); /* ADDED */
    return epfd;
}

int main(void)
{
#ifdef UNREAD
    int fd = event(1), kept[8];
    for (int i = 0; i < 8; i++)
        kept[i] = event(0);
#else
    int listener = listens(0, 16), client = connects();
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    must(fd >= 0, "accept4");
    resets(client);
#endif
    int epfd = watches(fd), row = 0, rebuilt = 0;
    struct since since = begin();
    struct epoll_event events[8];
    while (goes_on(&since, 400)) {
        int n = epoll_wait(epfd, events, 8, 50); /* HERE */
        if (n == 0)
            continue;
#ifdef FIXED
        must(epoll_ctl(epfd, EPOLL_CTL_DEL, fd, NULL) == 0, "EPOLL_CTL_DEL");
        close(fd);
#else
        if (++row == 2048) {
            row = 0;
            rebuilt++;
#ifdef UNREAD
            // The number that the next descriptor gets.
            close(kept[rebuilt % 8]);
            int next = watches(fd);
            kept[rebuilt % 8] = event(0);
#else
            int next = watches(fd);
#endif
            close(epfd);
            epfd = next;
        }
#endif
    }
    (void)row, (void)rebuilt;
    return found(-1, fd);
}
