// http.zig #208 (and likewise boringtun #144 and creytiv/re #266): the handler of the first event
// of a batch closes the connection of the second. A new connection gets the number at once, and the
// second event is taken for the new connection's.
//
// Arguments: bad, ok (events of connections that are gone are skipped); `close`: without
// EPOLL_CTL_DEL; `unused`: the number is not watched again; `sockets`; `thread`: by a second
// thread. These are no defect: `pause`: it is deleted and added again; `read`: it is read before.
#include "../finding.h"
#include <pthread.h>
#include <sys/socket.h>

static const char *mode;
static int epfd, number = -1;

static int is(const char *name)
{
    return strcmp(mode, name) == 0;
}

static void pair(int ends[2])
{
    if (is("sockets"))
        must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) == 0, "socketpair");
    else
        must(pipe2(ends, O_CLOEXEC | O_NONBLOCK) == 0, "pipe2");
}

static void *run(void *nothing)
{
    for (int round = 0; round < 20; round++) {
        int one[2], other[2], new[2] = {-1, -1}, gone = -1;
        char byte;
        pair(one), pair(other);
        add(epfd, one[0], EPOLLIN), add(epfd, other[0], EPOLLIN);
        must(write(one[1], "x", 1) == 1 && write(other[1], "x", 1) == 1, "write");
        struct epoll_event events[4];
        must(epoll_wait(epfd, events, 4, 50) == 2, "epoll_wait"); /* WAIT */
        for (int i = 0; i < 2; i++) {
            int fd = events[i].data.fd;
            if (is("ok") && fd == gone)
                continue;
            if (read(fd, &byte, 1) < 0)
                continue;
            if (i == 1)
                break;
            gone = events[1].data.fd;
            if (number < 0)
                number = gone;
            if (is("read"))
                must(read(gone, &byte, 1) == 1, "read");
            if (!is("close"))
                must(epoll_ctl(epfd, EPOLL_CTL_DEL, gone, NULL) == 0, "EPOLL_CTL_DEL"); /* HERE */
            if (!is("pause"))
                close(gone); /* CLOSE */
            if (is("pause")) {
                add(epfd, gone, EPOLLIN);
            } else if (is("unused")) {
                must(open("/dev/null", O_RDONLY | O_CLOEXEC) == gone, "the same number");
            } else {
                pair(new);
                must(new[0] == gone, "the same number");
                add(epfd, new[0], EPOLLIN);
            }
        }
        close(new[0]), close(new[1]);
        close(one[1]), close(other[1]);
        if (gone != one[0] || is("pause"))
            close(one[0]);
        if (gone != other[0] || is("pause"))
            close(other[0]);
    }
    return nothing;
}

int main(int count, char **arguments)
{
    must(count == 2, "a mode");
    mode = arguments[1];
    epfd = epoll_create1(EPOLL_CLOEXEC);
    if (is("thread")) {
        pthread_t thread;
        must(pthread_create(&thread, NULL, run, NULL) == 0, "pthread_create");
        pthread_join(thread, NULL);
    } else {
        run(NULL);
    }
    close(epfd);
    return found(epfd, number);
}
