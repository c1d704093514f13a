/* Limits that are set, changed and removed from inside: epollshim_limit, before threads run and
 * while they do. */
#include "limit.h"

typedef int (*reset_function)(void);

static int reset(void) {
    reset_function call = (reset_function)(uintptr_t)dlsym(RTLD_DEFAULT, "epollshim_reset");
    return call == NULL ? -1 : call();
}

static volatile int over;
static volatile long refused, worked;

static void *busy(void *unused) {
    int fd = eventfd(0, 0);
    (void)unused;
    while (!over) {
        int epfd = epoll_create1(0);
        if (epfd < 0) {
            QUIETLY(errno == EMFILE || errno == ENOMEM);
            __sync_fetch_and_add(&refused, 1);
            continue;
        }
        if (add(epfd, fd, EPOLLIN) != 0) {
            QUIETLY(errno == ENOSPC || errno == ENOMEM);
            __sync_fetch_and_add(&refused, 1);
        }
        __sync_fetch_and_add(&worked, 1);
        close(epfd);
    }
    close(fd);
    return NULL;
}

/* Waits until the threads have made `more` steps. */
static void await_steps(volatile long *steps, long more) {
    long wanted = *steps + more;
    for (int64_t end = now_ns() + 20000000000; *steps < wanted && now_ns() < end;) nap(1);
    QUIETLY(*steps >= wanted);
}

static void bad(const char *text, const char *about) {
    check_that(set_limits(text) == -1 && errno == EINVAL, text, __LINE__);
    check_that(strstr(why(), about) != NULL, why(), __LINE__);
}

int main(void) {
    int first = epoll_create1(0), fds[8];
    for (int i = 0; i < 8; i++) fds[i] = eventfd(0, 0);
    GIVES(add(first, fds[0], EPOLLIN), 0);
    GIVES(add(first, fds[1], EPOLLIN), 0);
    int second = epoll_create1(0);

    /* What lives counts. */
    GIVES(set_limits("instances=4,watches=3"), 0);
    EQUAL(instances_to_be_had(), 2);
    EQUAL(watches_to_be_had(second), 1);
    /* A new text replaces the one before. */
    GIVES(set_limits("instances=3"), 0);
    EQUAL(instances_to_be_had(), 1);
    EQUAL(watches_to_be_had(second), 256);
    /* If the limit is already exceeded, everything stays and nothing can be added. */
    GIVES(set_limits("instances=1,instance-watches=1"), 0);
    EQUAL(instances_to_be_had(), 0);
    EQUAL(watches_to_be_had(first), 0);
    EQUAL(watches_to_be_had(second), 1);
    GIVES(epoll_ctl(first, EPOLL_CTL_DEL, fds[1], NULL), 0);
    EQUAL(watches_to_be_had(first), 0);
    GIVES(epoll_ctl(first, EPOLL_CTL_DEL, fds[0], NULL), 0);
    EQUAL(watches_to_be_had(first), 1);

    bad("instances", "instances");
    bad("instances=", "instances");
    bad("instances=-1", "-1");
    bad("instances=8,", "2");
    bad("watchs=8", "watchs");
    bad("instances=99999999999999999999", "999");
    bad("on-limit=maybe", "maybe");
    bad("instances=1,instances=2", "instances");
    /* A text with a mistake sets nothing. */
    bad("instances=100,watches=x", "x");
    EQUAL(instances_to_be_had(), 0);

    GIVES(set_limits(NULL), 0);
    EQUAL(instances_to_be_had(), 256);
    GIVES(set_limits("user-instances=5"), 0);
    EQUAL(instances_to_be_had(), 3);
    GIVES(set_limits(""), 0);
    EQUAL(instances_to_be_had(), 256);
    close(second);
    GIVES(set_limits("user-instances=5,user-watches=2"), 0);
    EQUAL(instances_to_be_had(), 4);
    EQUAL(watches_to_be_had(first), 2);
    GIVES(reset(), 0);
    EQUAL(instances_to_be_had(), 4);
    GIVES(set_limits(""), 0);

    /* While threads run. */
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) pthread_create(&threads[i], NULL, busy, NULL);
    for (int round = 0; round < 20; round++) {
        await_steps(&worked, 20);
        QUIETLY(set_limits(round % 2 ? "instances=1" : "memory=100") == 0);
        await_steps(&refused, 20);
        QUIETLY(set_limits(round % 3 ? "instances=3,watches=1" : "user-instances=4,on-limit=deny") == 0);
        await_steps(&worked, 20);
        QUIETLY(reset() == 0);
        QUIETLY(set_limits(round % 5 ? "" : "watches=0") == 0);
    }
    over = 1;
    for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
    CHECK(refused > 0 && worked > 0);
    GIVES(set_limits("instances=7,user-watches=3"), 0);
    EQUAL(instances_to_be_had(), 6);
    EQUAL(watches_to_be_had(first), 3);
    close(first);
    EQUAL(instances_to_be_had(), 7);
    return verdict();
}
