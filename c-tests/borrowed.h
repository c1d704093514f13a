/* What a child that runs in its parent's memory does to its own copy of the descriptor table, and
 * checks that none of it affects the parent. For vfork_child and clone_vm_child. */
#include <linux/close_range.h>

static int epfd, second, fd, other, copy;

static void build_parent(void) {
    epfd = WORKS(epoll_create1(0));
    second = WORKS(epoll_create(10));
    fd = WORKS(eventfd(0, 0));
    other = WORKS(eventfd(0, 0));
    copy = WORKS(dup(epfd));
    GIVES(add(epfd, fd, EPOLLIN), 0);
    GIVES(add(epfd, other, EPOLLOUT | EPOLLONESHOT), 0);
    GIVES(add(second, fd, EPOLLIN), 0);
    GIVES(add(second, epfd, EPOLLIN), 0);
    LEDGER_KNOWS();
}

/* Closes everything in five ways, and creates descriptors of the child's own in between. Returns 0
 * if all went well. */
__attribute__((unused)) static int close_everything(int gently) {
    int failures = 0;
    failures += epoll_create1(EPOLL_CLOEXEC) < 0;
    failures += dup2(fd, epfd) != epfd;
    failures += dup2(0, copy) != copy;
    failures += dup3(second, 60, O_CLOEXEC) != 60;
    failures += fcntl(second, F_DUPFD, 61) != 61;
    failures += syscall(SYS_close, other) != 0;
    for (int i = 3; i < 64; i++) close(i);
    int own = epoll_create1(0), event = own < 0 ? -1 : dup(0);
    failures += own != 3 || event != 4;
    failures += dup2(own, epfd + 20) != epfd + 20;
    failures += close_range(3, ~0u, gently ? (int)CLOSE_RANGE_CLOEXEC : 0) != 0;
    if (!gently) closefrom(3);
    return failures;
}

/* The parent afterwards: same descriptors, same interests, and events still arrive. */
static void parent_is_whole(void) {
    LEDGER_KNOWS();
    GIVES(events_of(epfd, 0), EPOLLOUT);
    GIVES(events_of(epfd, 0), 0);
    EQUAL(eventfd_write(fd, 1), 0);
    GIVES(events_of(epfd, 0), EPOLLIN);
    GIVES(events_of(copy, 0), EPOLLIN);
    GIVES(events_of(second, 0), EPOLLIN);
    eventfd_t value;
    EQUAL(eventfd_read(fd, &value), 0);
    GIVES(epoll_ctl(copy, EPOLL_CTL_MOD, other, (struct epoll_event[]){interest(EPOLLOUT | EPOLLONESHOT, 1)}), 0);
    FAILS(add(epfd, fd, EPOLLIN), EEXIST);
    GIVES(fcntl(epfd, F_GETFD), 0);
    LEDGER_KNOWS();
}

/* At the end the parent closes everything, and its ledger is empty. */
__attribute__((unused)) static void parent_ends(void) {
    GIVES(close(epfd), 0);
    LEDGER_KNOWS();
    GIVES(close(copy), 0);
    GIVES(close(fd), 0);
    GIVES(close(second), 0);
    GIVES(close(other), 0);
    LEDGER_KNOWS();
}
