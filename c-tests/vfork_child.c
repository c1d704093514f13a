/* vfork children close everything, in the memory of their parent: its epoll instances and its ledger are untouched. */
#include "check.h"

#include "borrowed.h"

static volatile int failures;

/* One child by each end. Not inlined: nothing of the caller may live in registers across vfork. */
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
    /* The ledger of another thread's calls, while its memory is lent: nothing of it may be lost. */
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

int main(void) {
    static const int statuses[] = {40, 0, 42, 44, 5, 6};
    build_parent();
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
