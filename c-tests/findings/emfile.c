// Descriptors leak until a call fails with EMFILE; then all are closed. One of these chooses the
// call: -DBY_ACCEPT, -DBY_OPEN, -DBY_DUP, -DBY_PIPE; otherwise socket. -DSOFT: only the soft limit
// is low. -DIN_CHILD: in a forked child, whose status the parent passes on. -DWATCHED: sockets in
// CLOSE_WAIT that are watched.
#include "tcp.h"
#include <sys/resource.h>
#include <sys/wait.h>

enum { LIMIT = 64 };

static int epfd, listener;

static int makes(void)
{
#if defined BY_ACCEPT || defined WATCHED
    // The client needs a number, too.
    int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (client < 0)
        return -1;
    must(connect(client, (struct sockaddr *)&server, sizeof server) == 0, "connect");
    int made = accept4(listener, NULL, NULL, SOCK_CLOEXEC); /* BY_ACCEPT */
    close(client);
#ifdef WATCHED
    if (made >= 0) {
        add(epfd, made, EPOLLIN | EPOLLET);
        struct epoll_event event;
        must(epoll_wait(epfd, &event, 1, -1) == 1, "the end");
    }
#endif
    return made;
#elif defined BY_OPEN
    return open("/dev/null", O_RDONLY | O_CLOEXEC); /* BY_OPEN */
#elif defined BY_DUP
    return dup(0); /* BY_DUP */
#elif defined BY_PIPE
    int ends[2];
    return pipe2(ends, O_CLOEXEC) == 0 ? ends[1] : -1; /* BY_PIPE */
#else
    return socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0); /* BY_SOCKET */
#endif
}

static void runs_out(void)
{
    while (makes() >= 0)
        ;
    must(errno == EMFILE, "EMFILE");
    for (int fd = 5; fd < LIMIT; fd++)
        close(fd);
}

int main(void)
{
    struct rlimit limit;
    must(getrlimit(RLIMIT_NOFILE, &limit) == 0, "getrlimit");
    limit.rlim_cur = LIMIT;
#ifndef SOFT
    limit.rlim_max = LIMIT;
#endif
    must(setrlimit(RLIMIT_NOFILE, &limit) == 0, "setrlimit");
    listener = listens(0, 128);
    epfd = epoll_create1(EPOLL_CLOEXEC);
#ifdef IN_CHILD
    fflush(stdout);
    pid_t child = fork();
    if (child != 0) {
        int status;
        must(wait(&status) == child && status == 0, "the child");
        return found(-1, -1);
    }
#endif
    runs_out();
#ifdef IN_CHILD
    exit(0);
#endif
    return found(-1, -1);
}
