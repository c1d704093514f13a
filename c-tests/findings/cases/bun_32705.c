// bun #32705, twisted #5368: at the descriptor limit accept fails with EMFILE. The connection stays
// in the backlog, so the listening socket stays ready, and the loop spins. The argument says what
// the server does about it: nothing (bad), ignore the socket for a while (ok), or free a descriptor
// that it keeps for this, accept and close (reserve: node #45242, libuv #690).
#include "../tcp.h"
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>

#define CLIENTS 60

static void pauses(int milliseconds)
{
    poll(NULL, 0, milliseconds);
}

// Connections that stay. A connection that the server has closed is made again.
static void keeps_connecting(void)
{
    int made[CLIENTS];
    for (int i = 0; i < CLIENTS; i++)
        made[i] = connects();
    for (;;) {
        char byte;
        for (int i = 0; i < CLIENTS; i++)
            if (recv(made[i], &byte, 1, MSG_DONTWAIT) == 0) {
                resets(made[i]);
                made[i] = connects();
            }
        pauses(20);
    }
}

static void changes(int epfd, int fd, unsigned events)
{
    struct epoll_event event = {.events = events, .data.fd = fd};
    must(epoll_ctl(epfd, EPOLL_CTL_MOD, fd, &event) == 0, "EPOLL_CTL_MOD");
}

// Rounds of the loop: enough for about a second of processor time, or for a few pauses.
static int rounds(const char *mode)
{
    return strcmp(mode, "bad") == 0 ? 400000 : strcmp(mode, "ok") == 0 ? 60 : 1000;
}

int main(int count, char **arguments)
{
    const char *mode = count > 1 ? arguments[1] : "bad";
    int listener = listens(SOCK_NONBLOCK, CLIENTS);
    pid_t client = fork();
    if (client == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        keeps_connecting();
    }
    struct rlimit limit = {40, 40};
    must(setrlimit(RLIMIT_NOFILE, &limit) == 0, "setrlimit");
    int epfd = epoll_create1(EPOLL_CLOEXEC);
    int spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
    add(epfd, listener, EPOLLIN);
    int failed = 0, ignored = 0;
    for (int left = rounds(mode); left > 0; left--) {
        struct epoll_event event;
        if (epoll_wait(epfd, &event, 1, 20) <= 0) {
            if (ignored > 0 && --ignored == 0)
                changes(epfd, listener, EPOLLIN);
            continue;
        }
        if (event.data.fd != listener) {
            char byte;
            if (read(event.data.fd, &byte, 1) <= 0)
                close(event.data.fd);
            continue;
        }
        int accepted = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK); /* HERE */
        if (accepted >= 0) {
            add(epfd, accepted, EPOLLIN);
            continue;
        }
        failed += errno == EMFILE;
        if (strcmp(mode, "ok") == 0) {
            changes(epfd, listener, 0);
            ignored = 5;
        }
        if (strcmp(mode, "reserve") == 0) {
            close(spare);
            while ((accepted = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0)
                close(accepted);
            spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
        }
    }
    must(failed > 0, "EMFILE");
    kill(client, SIGKILL);
    waitpid(client, NULL, 0);
    return found(epfd, listener);
}
