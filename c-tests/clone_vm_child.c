/* Children of clone(CLONE_VM), with the parent stopped or running, with a copy of the descriptor
 * table or with the parent's own table. */
#include "check.h"

#include <sched.h>

#include "borrowed.h"

static volatile int failures;
static char *stack;

static int closes_everything(void *unused) {
    (void)unused;
    failures = close_everything(0);
    return 40;
}

static int closes_and_execs(void *unused) {
    (void)unused;
    failures = close_everything(1);
    execl("/bin/sh", "sh", "-c", "exit 9", (char *)NULL);
    return 1;
}

static int uses_epoll(void *unused) {
    (void)unused;
    /* The instance is shared: what the child adds exists for the parent, too. */
    int own = epoll_create1(0);
    failures = add(own, fd, EPOLLIN) != 0 || add(own, other, EPOLLIN) != 0 || close(own) != 0;
    failures += epoll_ctl(epfd, EPOLL_CTL_DEL, fd, NULL) != 0;
    failures += add(epfd, fd, EPOLLIN) != 0;
    return 41;
}

/* With CLONE_FILES this is the parent's own table: what the child closes is closed in the
 * parent. */
static int shares_the_table(void *unused) {
    (void)unused;
    failures = close(copy) != 0 || close(second) != 0;
    copy = dup(epfd);
    second = epoll_create1(0);
    failures += copy < 0 || second < 0 || add(second, fd, EPOLLIN) != 0 || add(second, epfd, EPOLLIN) != 0;
    return 43;
}

static int runs(int (*child)(void *), int flags) {
    failures = -1;
    pid_t pid = clone(child, stack + 65536, flags | CLONE_VM | SIGCHLD, NULL);
    return pid < 0 ? -1 : status_of(pid);
}

int main(void) {
    stack = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    build_parent();
    for (int round = 0; round < 3; round++) {
        EQUAL(runs(closes_everything, CLONE_VFORK), 40);
        EQUAL(failures, 0);
        parent_is_whole();
        EQUAL(runs(closes_everything, 0), 40);
        EQUAL(failures, 0);
        parent_is_whole();
        EQUAL(runs(closes_and_execs, CLONE_VFORK), 9);
        EQUAL(failures, 0);
        parent_is_whole();
        EQUAL(runs(uses_epoll, 0), 41);
        EQUAL(failures, 0);
        LEDGER_AGREES();
    }
    EQUAL(runs(shares_the_table, CLONE_FILES), 43);
    EQUAL(failures, 0);
    LEDGER_AGREES();
    EQUAL(eventfd_write(fd, 1), 0);
    GIVES(events_of(copy, 0) != 0, 1);
    GIVES(events_of(second, 0), EPOLLIN);
    return verdict();
}
