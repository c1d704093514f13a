// strongswan/davici #4 (and likewise handy #74 with libuv): one message is read for each event of
// an edge-triggered interest. The rest stays in the socket, no further edge arrives for it, and the
// loop's waits time out.
//
// Arguments: bad, ok (read until EAGAIN); `unix`, `pipe`; `accept`: one of three connections is
// accepted; `nested`: another instance, which is waited on, watches the instance; `tick`: the waits
// time out after 10 ms; `woken`: a timer wakes them; `exits`: the loop's thread waits forever, and
// another one ends the process; `signal`: a signal interrupts the wait.
#include "../tcp.h"
#include <pthread.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>

#include "../clock.h"

static int epfd, outer, timer = -1, loop_tid, timeout = 100;
static const char *mode;

static int is(const char *name)
{
    return strcmp(mode, name) == 0;
}

static void handle(int fd)
{
    char message[8];
    if (fd == timer) {
        must(read(timer, message, 8) == 8, "timer");
    } else if (is("accept")) {
        must(accept4(fd, NULL, NULL, SOCK_CLOEXEC) >= 0, "accept4");
    } else {
        while (read(fd, message, 8) > 0 && is("ok"))
            ;
    }
}

static void *loop(void *nothing)
{
    __atomic_store_n(&loop_tid, (int)syscall(SYS_gettid), __ATOMIC_RELEASE);
    for (struct since since = begin(); runs(&since, 1600);) {
        struct epoll_event events[4];
        int count = epoll_wait(outer, events, 4, timeout); /* HERE */
        if (count < 0)
            break;
        if (count > 0 && outer != epfd)
            count = epoll_wait(epfd, events, 4, 0);
        for (int i = 0; i < count; i++)
            handle(events[i].data.fd);
    }
    return nothing;
}

static void nothing(int signal)
{
    (void)signal;
}

int main(int count, char **arguments)
{
    int ends[2], other;
    must(count == 2, "a mode");
    mode = arguments[1];
    epfd = outer = epoll_create1(EPOLL_CLOEXEC);
    int listener = listens(SOCK_NONBLOCK, 16);
    if (is("pipe"))
        must(pipe2(ends, O_CLOEXEC | O_NONBLOCK) == 0, "pipe2");
    else if (is("unix"))
        must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) == 0, "socketpair");
    else
        ends[1] = connects(), ends[0] = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    other = is("accept") ? listener : ends[0];
    struct epoll_event interest = {.events = EPOLLIN | EPOLLET, .data.fd = other};
    must(epoll_ctl(epfd, EPOLL_CTL_ADD, other, &interest) == 0, "EPOLL_CTL_ADD"); /* REGISTERED */
    for (int i = 0; i < 10 && !is("accept"); i++)
        must(write(ends[1], "message.", 8) == 8, "write");
    for (int i = 0; i < 3 && is("accept"); i++)
        connects();
    if (is("nested")) {
        outer = epoll_create1(EPOLL_CLOEXEC);
        add(outer, epfd, EPOLLIN);
    }
    if (is("tick"))
        timeout = 10;
    if (is("woken")) {
        timeout = -1;
        timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
        struct itimerspec every = {{0, 250000000}, {0, 250000000}};
        must(timerfd_settime(timer, 0, &every, NULL) == 0, "timerfd_settime");
        add(epfd, timer, EPOLLIN);
    }
    if (is("exits")) {
        pthread_t thread;
        timeout = -1;
        must(pthread_create(&thread, NULL, loop, NULL) == 0, "pthread_create");
        int left;
        do
            usleep(1000);
        while (ioctl(other, FIONREAD, &left) == 0 && left == 80);
        await_call(loop_tid, SYS_epoll_wait);
        return found(epfd, other);
    }
    if (is("signal")) {
        timeout = -1;
        struct sigaction action = {.sa_handler = nothing};
        struct itimerval once = {.it_value = {0, 700000}};
        must(sigaction(SIGALRM, &action, NULL) == 0 && setitimer(ITIMER_REAL, &once, NULL) == 0, "setitimer");
    }
    loop(NULL);
    return found(epfd, other);
}
