/* Children of fork use, share and close what they inherited, and end in every way. Grandchildren do
 * the same. */
#include "check.h"

static int epfd, fd, copy, twin;

/* The child's own instances and interests, from creation to close. */
static void own_work(void) {
    int own = epoll_create1(0), events = eventfd(1, 0);
    QUIETLY(own >= 0 && add(own, events, EPOLLIN) == 0 && events_of(own, 0) == EPOLLIN);
    QUIETLY(add(own, epfd, EPOLLIN) == 0 && close(own) == 0 && close(events) == 0);
}

static void ends(int way) {
    static char *const arguments[] = {"sh", "-c", "exit 24", NULL};
    if (checks_failed) _exit(1);
    switch (way) {
    case 0: _exit(20);
    case 1: exit(21);
    case 2: quick_exit(22);
    case 3: _Exit(23);
    case 4: execv("/bin/sh", arguments); _exit(1);
    case 5: syscall(SYS_exit_group, 25); _exit(1);
    }
    raise(SIGKILL);
}

static int ended(int way) { return way == 6 ? 1000 + SIGKILL : 20 + way; }

static void child(int way) {
    own_work();
    LEDGER_AGREES();
    /* What the parent notices: the interest belongs to the shared instance. It is restored before
     * the end. */
    GIVES(epoll_ctl(epfd, EPOLL_CTL_DEL, fd, NULL), 0);
    FAILS(epoll_ctl(copy, EPOLL_CTL_DEL, fd, NULL), ENOENT);
    GIVES(add(copy, fd, EPOLLIN), 0);
    /* What the parent does not notice: the child's descriptors are its own. */
    GIVES(close(epfd), 0);
    FAILS(add(epfd, fd, EPOLLIN), EBADF);
    GIVES(close(twin), 0);
    GIVES(epoll_create1(0), epfd);
    LEDGER_AGREES();
    GIVES(events_of(copy, 0), 0);
    pid_t grandchild = fork();
    if (grandchild == 0) {
        own_work();
        GIVES(close(copy), 0);
        GIVES(close_range((unsigned)fd, ~0u, 0), 0);
        LEDGER_AGREES();
        ends((way + 1) % 7);
    }
    EQUAL(status_of(grandchild), ended((way + 1) % 7));
    LEDGER_AGREES();
    ends(way);
}

int main(void) {
    epfd = WORKS(epoll_create1(0));
    fd = WORKS(eventfd(0, 0));
    copy = WORKS(dup(epfd));
    twin = WORKS(dup(fd));
    GIVES(add(epfd, fd, EPOLLIN), 0);
    GIVES(add(epfd, twin, EPOLLIN), 0);
    for (int way = 0; way < 7; way++) {
        pid_t pid = fork();
        if (pid == 0) child(way);
        EQUAL(status_of(pid), ended(way));
        LEDGER_AGREES();
        FAILS(add(epfd, fd, EPOLLIN), EEXIST);
        EQUAL(fcntl(twin, F_GETFD), 0);
    }
    /* What a child removes from the shared instance is gone for the parent, whose descriptors are
     * unchanged. */
    int inner = WORKS(epoll_create1(0)), inner_copy = WORKS(dup(inner));
    GIVES(add(epfd, inner, EPOLLIN), 0);
    pid_t remover = fork();
    if (remover == 0) _exit(epoll_ctl(epfd, EPOLL_CTL_DEL, inner, NULL));
    EQUAL(status_of(remover), 0);
    FAILS(epoll_ctl(epfd, EPOLL_CTL_DEL, inner, NULL), ENOENT);
    GIVES(add(inner, fd, EPOLLIN), 0);
    LEDGER_AGREES();
    GIVES(add(epfd, inner, EPOLLIN), 0);
    GIVES(close(inner), 0);
    GIVES(close(inner_copy), 0);
    LEDGER_AGREES();
    /* An event that the child causes, and an interest that outlives its descriptor because a child
     * still holds it. */
    int ends_of[2];
    struct epoll_event got[3];
    CHECK(pipe(ends_of) == 0);
    pid_t pid = fork();
    if (pid == 0) {
        char byte;
        QUIETLY(eventfd_write(fd, 1) == 0 && close(ends_of[1]) == 0 && read(ends_of[0], &byte, 1) == 0);
        _exit(checks_failed);
    }
    GIVES(epoll_wait(epfd, got, 3, 10000) > 0, 1);
    GIVES(close(fd), 0);
    GIVES(epoll_wait(epfd, got, 3, 0), 2);
    LEDGER_AGREES();
    GIVES(close(ends_of[1]), 0);
    EQUAL(status_of(pid), 0);
    GIVES(close(twin), 0);
    GIVES(epoll_wait(epfd, got, 3, 0), 0);
    LEDGER_AGREES();
    return verdict();
}
