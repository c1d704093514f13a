/* vfork children close everything, in the memory of their parent: its epoll instances and its
 * ledger stay unchanged. */
#include "check.h"

#include "borrowed.h"

static volatile int failures;

/* One child for each way to end. Not inlined: no value of the caller may live in registers across
 * vfork. */
__attribute__((noinline)) static pid_t child_that(int end) {
    pid_t child = vfork();
    if (child != 0) return child;
    failures = close_everything(end != 0 && end != 3);
    if (end == 1) execl("/bin/true", "true", (char *)NULL);
    if (end == 2) execl("/nonexistent/program", "program", (char *)NULL);
    if (end == 4) execlp("sh", "sh", "-c", "exit 5", (char *)NULL);
    if (end == 5) {
        static char *const arguments[] = {"sh", "-c", "exit 6", NULL};
        execv("/bin/sh", arguments);
    }
    if (end == 3) _Exit(44);
    _exit(end == 2 ? 42 : 40);
}

static void *thread_of(void *unused) {
    /* The calls of another thread while its memory is lent: the ledger must miss none of them. */
    int mine = epoll_create1(EPOLL_CLOEXEC), events = eventfd(1, EFD_CLOEXEC);
    for (int i = 0; i < 3000; i++) {
        int twin = dup(events);
        QUIETLY(add(mine, events, EPOLLIN) == 0 && add(mine, twin, EPOLLIN) == 0);
        QUIETLY(close(twin) == 0);
        QUIETLY(epoll_ctl(mine, EPOLL_CTL_DEL, events, NULL) == 0);
        close(mine);
        mine = epoll_create1(EPOLL_CLOEXEC);
    }
    close(events);
    close(mine);
    return unused;
}

/* A descriptor that was dupped before any instance watched it: the child's closes must not make the
 * library forget the dup. */
static void dups_are_remembered(void) {
    int instance = epoll_create1(0), event = eventfd(1, 0), twin = dup(event);
    EQUAL(status_of(child_that(0)), 40);
    GIVES(add(instance, event, EPOLLIN), 0);
    GIVES(close(event), 0);
    GIVES(events_of(instance, 0), EPOLLIN);
    LEDGER_KNOWS();
    GIVES(close(twin), 0);
    GIVES(events_of(instance, 0), 0);
    GIVES(close(instance), 0);
    LEDGER_AGREES();
}

/* A forked child that has done nothing yet lends its memory at once. The memory is its own
 * nevertheless. */
static void a_fresh_child_lends_its_memory(void) {
    pid_t fresh = fork();
    if (fresh == 0) {
        EQUAL(status_of(child_that(0)), 40);
        EQUAL(status_of(child_that(1)), 0);
        parent_is_whole();
        GIVES(close(copy), 0);
        LEDGER_KNOWS();
        if (checks_failed) _exit(1);
        exit(9);
    }
    EQUAL(status_of(fresh), 9);
}

int main(void) {
    static const int statuses[] = {40, 0, 42, 44, 5, 6};
    build_parent();
    a_fresh_child_lends_its_memory();
    dups_are_remembered();
    for (int round = 0; round < 2; round++) {
        for (int end = 0; end < 6; end++) {
            EQUAL(status_of(child_that(end)), statuses[end]);
            EQUAL(failures, 0);
            parent_is_whole();
        }
    }
    pthread_t thread;
    pthread_create(&thread, NULL, thread_of, NULL);
    for (int i = 0; i < 30; i++) QUIETLY(status_of(child_that(i % 2 ? 3 : 0)) == (i % 2 ? 44 : 40));
    pthread_join(thread, NULL);
    parent_is_whole();
    parent_ends();
    return verdict();
}
