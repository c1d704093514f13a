// pjsip #3018 (and likewise kaappi #1481): the interest is one-shot. If no operation is pending,
// its handler returns without arming it again, and no more events arrive, although data does.
//
// Arguments: bad, ok (armed again on each path); `edge`: edge-triggered as well; `datagram`;
// `pool`: four threads wait; `slow`: the handler in another thread takes long, then reads and arms
// again.
#include "../tcp.h"
#include "../clock.h"
#include <pthread.h>

static int epfd;
static unsigned events = EPOLLIN | EPOLLONESHOT;
static const char *mode;

static int is(const char *name)
{
    return strcmp(mode, name) == 0;
}

static void take(int fd)
{
    char bytes[64];
    struct epoll_event event = {.events = events, .data.fd = fd};
    must(read(fd, bytes, sizeof bytes) > 0 && epoll_ctl(epfd, EPOLL_CTL_MOD, fd, &event) == 0, "EPOLL_CTL_MOD");
}

static void *take_late(void *fd)
{
    usleep(1100000);
    take((int)(long)fd);
    return NULL;
}

static void handle(int fd)
{
    static int pending;
    pthread_t thread;
    if (is("ok") || pending)
        take(fd);
    else if (is("slow"))
        must(pthread_create(&thread, NULL, take_late, (void *)(long)fd) == 0, "pthread_create");
    pending = !is("slow");
}

static void *loop(void *nothing)
{
    for (struct since since = begin(); runs(&since, 2000);) {
        struct epoll_event event;
        if (epoll_wait(epfd, &event, 1, 60) == 1) /* HERE */
            handle(event.data.fd);
    }
    return nothing;
}

int main(int count, char **arguments)
{
    int ends[2];
    must(count == 2, "a mode");
    mode = arguments[1];
    epfd = epoll_create1(EPOLL_CLOEXEC);
    if (is("edge"))
        events |= EPOLLET;
    if (is("datagram")) {
        must(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) == 0, "socketpair");
    } else {
        int listener = listens(0, 16);
        ends[1] = connects();
        ends[0] = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    }
    struct epoll_event interest = {.events = events, .data.fd = ends[0]};
    must(epoll_ctl(epfd, EPOLL_CTL_ADD, ends[0], &interest) == 0, "EPOLL_CTL_ADD"); /* REGISTERED */
    must(write(ends[1], "abc", 3) == 3, "write");
    pthread_t threads[3];
    for (int i = 0; i < 3 && is("pool"); i++)
        must(pthread_create(&threads[i], NULL, loop, NULL) == 0, "pthread_create");
    loop(NULL);
    for (int i = 0; i < 3 && is("pool"); i++)
        pthread_join(threads[i], NULL);
    return found(epfd, ends[0]);
}
