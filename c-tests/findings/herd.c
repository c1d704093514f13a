// Two workers wait for connections on one listening socket, each on its own instance: each
// connection wakes both (gevent #1536). With -DFIXED: EPOLLEXCLUSIVE.
#include "tcp.h"
#include "clock.h"
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#ifdef FIXED
enum { EVENTS = EPOLLIN | EPOLLEXCLUSIVE };
#else
enum { EVENTS = EPOLLIN };
#endif

static int listener;
static volatile int *serves;

// Serves for a while. Returns its instance.
static int serve(void)
{
    int epfd = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EVENTS, .data.fd = listener}, events[8];
    must(epoll_ctl(epfd, EPOLL_CTL_ADD, listener, &event) == 0, "EPOLL_CTL_ADD"); /* HERE */
    __sync_fetch_and_add(serves, 1);
    for (struct since since = begin(); runs(&since, 200) || *serves < 2;)
        if (epoll_wait(epfd, events, 8, 10) == 1)
            close(accept4(listener, NULL, NULL, SOCK_CLOEXEC));
    return epfd;
}

int main(void)
{
    serves = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    listener = listens(SOCK_NONBLOCK, 16);
    pid_t parent = getpid();
    if (fork() == 0) {
        // Until the other is gone: the finding describes both.
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() == parent)
            serve();
        for (;;)
            pause();
    }
    return found(serve(), listener);
}
