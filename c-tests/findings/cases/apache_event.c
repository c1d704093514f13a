// apache's event MPM as root: the parent listens, and its workers give up root and serve, each on
// an instance of its own. Each connection wakes all of them. They may not ask the kernel about each
// other.
//
// An argument says how they are forked (fork; raw: by the system call itself; session: each in a
// session and group of its own), or that there is no defect (ok: EPOLLEXCLUSIVE; one: only one
// worker). The workers end one after the other, so that the first finds the second alive.
#include "../tcp.h"
#include "../clock.h"
#include <grp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static int listener;
static volatile int *serves;

static void serve(unsigned events, int workers)
{
    int epfd = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = events, .data.fd = listener}, got[8];
    must(epoll_ctl(epfd, EPOLL_CTL_ADD, listener, &event) == 0, "EPOLL_CTL_ADD"); /* HERE */
    epoll_wait(epfd, got, 8, 1);
    __sync_fetch_and_add(serves, 1);
    while (*serves < workers)
        epoll_wait(epfd, got, 8, 10);
}

int main(int count, char **arguments)
{
    const char *mode = count > 1 ? arguments[1] : "fork";
    int workers = strcmp(mode, "one") == 0 ? 1 : 2, status;
    unsigned events = strcmp(mode, "ok") == 0 ? EPOLLIN | EPOLLEXCLUSIVE : EPOLLIN;
    pid_t pids[2];
    serves = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    listener = listens(SOCK_NONBLOCK, 16);
    for (int i = 0; i < workers; i++) {
        pids[i] = strcmp(mode, "raw") == 0 ? (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0) : fork();
        if (pids[i] == 0) {
            if (strcmp(mode, "session") == 0)
                setsid();
            must(setgroups(0, NULL) == 0 && setgid(30001 + i) == 0 && setuid(30001 + i) == 0, "setuid");
            serve(events, workers);
            // The second waits until the first has ended.
            while (i == 1 && serves[1] == 0)
                usleep(1000);
            exit(0);
        }
    }
    for (int i = 0; i < workers; i++) {
        must(waitpid(pids[i], &status, 0) == pids[i] && status == 0, "a worker");
        serves[1] = 1;
    }
    return found(-1, listener);
}
