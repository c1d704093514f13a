/* Numbers and descriptions: dup2 over live descriptors, instances, and interests that outlive the
 * number with which they were added; nested instances. After every step the ledger is compared with
 * the kernel. */
#include "check.h"

static int eventfd_with(unsigned value) { return eventfd(value, EFD_CLOEXEC | EFD_NONBLOCK); }

static void a_marker_over_an_instance(void) {
    int epfd = WORKS(epoll_create1(0)), fd = eventfd_with(1), marker = open("/dev/null", O_RDWR);
    GIVES(add(epfd, fd, EPOLLIN), 0);
    GIVES(dup2(marker, epfd), epfd);
    LEDGER_KNOWS();
    FAILS(epoll_wait(epfd, (struct epoll_event[1]){{0}}, 1, 0), EINVAL);
    FAILS(add(epfd, fd, EPOLLIN), EINVAL);
    GIVES(close(epfd), 0);
    GIVES(epoll_create(3), epfd);
    GIVES(events_of(epfd, 0), 0);
    GIVES(add(epfd, fd, EPOLLIN), 0);
    LEDGER_KNOWS();
    /* One instance over another, and over itself by another name. */
    int other = WORKS(epoll_create1(0));
    GIVES(dup2(epfd, other), other);
    LEDGER_KNOWS();
    GIVES(dup2(other, epfd), epfd);
    GIVES(dup3(other, epfd, O_CLOEXEC), epfd);
    LEDGER_KNOWS();
    GIVES(events_of(other, 0), EPOLLIN);
    GIVES(close(epfd), 0);
    GIVES(events_of(other, 0), EPOLLIN);
    LEDGER_KNOWS();
    GIVES(close(other), 0);
    GIVES(close(fd), 0);
    GIVES(close(marker), 0);
    LEDGER_KNOWS();
}

static void a_marker_over_a_watched_descriptor(void) {
    int epfd = epoll_create1(0), fd = eventfd_with(1), marker = eventfd_with(0);
    GIVES(add(epfd, fd, EPOLLIN), 0);
    GIVES(dup2(marker, fd), fd);
    LEDGER_KNOWS();
    GIVES(events_of(epfd, 0), 0);
    FAILS(epoll_ctl(epfd, EPOLL_CTL_DEL, fd, NULL), ENOENT);
    GIVES(add(epfd, fd, EPOLLIN), 0);
    GIVES(add(epfd, marker, EPOLLIN), 0);
    LEDGER_KNOWS();
    GIVES(dup2(fd, marker), marker);
    LEDGER_KNOWS();
    GIVES(close(fd), 0);
    LEDGER_KNOWS();
    GIVES(close(marker), 0);
    LEDGER_KNOWS();
    GIVES(close(epfd), 0);
}

static void an_interest_outlives_its_number(void) {
    int epfd = epoll_create1(0), fd = eventfd_with(1);
    GIVES(add(epfd, fd, EPOLLIN), 0);
    int after = WORKS(dup(fd));
    GIVES(close(fd), 0);
    GIVES(events_of(epfd, 0), EPOLLIN);
    FAILS(epoll_ctl(epfd, EPOLL_CTL_DEL, fd, NULL), EBADF);
    FAILS(epoll_ctl(epfd, EPOLL_CTL_DEL, after, NULL), ENOENT);
    LEDGER_KNOWS();
    /* Another file with the ghost's number is a second interest beside it. */
    GIVES(eventfd_with(0), fd);
    GIVES(add(epfd, fd, EPOLLIN), 0);
    LEDGER_KNOWS();
    GIVES(close(fd), 0);
    LEDGER_KNOWS();
    /* The description gets its number back: the old interest belongs to it again. */
    GIVES(dup2(after, fd), fd);
    FAILS(add(epfd, fd, EPOLLIN), EEXIST);
    GIVES(add(epfd, after, EPOLLIN), 0);
    LEDGER_KNOWS();
    GIVES(epoll_ctl(epfd, EPOLL_CTL_DEL, fd, NULL), 0);
    GIVES(close(fd), 0);
    LEDGER_KNOWS();
    GIVES(close(after), 0);
    LEDGER_KNOWS();

    /* The second descriptor existed before the interest. */
    int early = eventfd_with(1), before = WORKS(fcntl(early, F_DUPFD, 20));
    GIVES(add(epfd, early, EPOLLIN), 0);
    GIVES(close(early), 0);
    GIVES(events_of(epfd, 0), EPOLLIN);
    LEDGER_AGREES();
    GIVES(close(before), 0);
    GIVES(events_of(epfd, 0), 0);
    LEDGER_AGREES();
    GIVES(close(epfd), 0);
    LEDGER_AGREES();
}

/* dup2 of what an instance watches onto the last descriptor of that instance. */
static void the_watched_over_its_watcher(void) {
    int epfd = WORKS(epoll_create1(0)), fd = eventfd_with(1);
    GIVES(add(epfd, fd, EPOLLIN), 0);
    GIVES(dup2(fd, epfd), epfd);
    LEDGER_KNOWS();
    int second = WORKS(epoll_create1(0)), third = WORKS(epoll_create1(0));
    GIVES(add(second, epfd, EPOLLIN), 0);
    GIVES(add(third, fd, EPOLLIN), 0);
    LEDGER_KNOWS();
    GIVES(close(epfd), 0);
    GIVES(events_of(second, 0), EPOLLIN);
    LEDGER_AGREES();
    GIVES(close(fd), 0);
    GIVES(events_of(second, 0), 0);
    LEDGER_AGREES();
    GIVES(close(second), 0);
    GIVES(close(third), 0);
    LEDGER_AGREES();
}

/* A descriptor that was dupped before any instance watched it gets its number back: the kernel
 * recognises it. */
static void a_twin_comes_back(void) {
    int epfd = epoll_create1(0), fd = eventfd_with(1), twin = dup(fd), again = dup(fd);
    for (int op = 0; op < 3; op++) {
        GIVES(add(epfd, fd, EPOLLIN), 0);
        GIVES(close(fd), 0);
        GIVES(dup2(op == 1 ? again : twin, fd), fd);
        struct epoll_event event = interest(EPOLLIN, 3);
        if (op == 0) GIVES(epoll_ctl(epfd, EPOLL_CTL_MOD, fd, &event), 0);
        if (op == 1) FAILS(epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &event), EEXIST);
        LEDGER_AGREES();
        GIVES(epoll_ctl(epfd, EPOLL_CTL_DEL, fd, NULL), 0);
        LEDGER_AGREES();
    }
    close(fd), close(twin), close(again), close(epfd);
    LEDGER_AGREES();
}

static void nested_instances(void) {
    int outer = epoll_create1(0), inner = epoll_create1(0), fd = eventfd_with(1);
    GIVES(add(outer, inner, EPOLLIN), 0);
    GIVES(add(inner, fd, EPOLLIN), 0);
    GIVES(events_of(outer, 0), EPOLLIN);
    int copy = WORKS(dup(inner));
    GIVES(close(inner), 0);
    LEDGER_AGREES();
    GIVES(events_of(outer, 0), EPOLLIN);
    GIVES(close(copy), 0);
    LEDGER_AGREES();
    GIVES(events_of(outer, 0), 0);
    inner = epoll_create1(0);
    GIVES(add(outer, inner, EPOLLIN), 0);
    GIVES(add(inner, fd, EPOLLIN), 0);
    GIVES(close(outer), 0);
    LEDGER_AGREES();
    GIVES(close(fd), 0);
    LEDGER_AGREES();
    GIVES(close(inner), 0);
    LEDGER_AGREES();
}

static void closed_behind_the_shim(void) {
    int epfd = epoll_create1(0), ends[2];
    EQUAL(pipe(ends), 0);
    GIVES(add(epfd, ends[0], EPOLLIN), 0);
    FILE *stream = fdopen(ends[0], "r");
    GIVES(fclose(stream), 0);
    LEDGER_AGREES();
    GIVES(dup2(ends[1], ends[0]), ends[0]);
    GIVES(add(epfd, ends[0], EPOLLOUT), 0);
    GIVES(events_of(epfd, 0), EPOLLOUT | EPOLLERR);
    LEDGER_AGREES();
    GIVES(close(ends[0]), 0);
    LEDGER_AGREES();
    GIVES(close(ends[1]), 0);
    /* The instance itself, through a stream; its number is reused at once. */
    stream = fdopen(epfd, "r");
    GIVES(fclose(stream), 0);
    GIVES(epoll_create1(0), epfd);
    LEDGER_AGREES();
    GIVES(close(epfd), 0);
    LEDGER_AGREES();
}

int main(void) {
    a_marker_over_an_instance();
    a_marker_over_a_watched_descriptor();
    an_interest_outlives_its_number();
    the_watched_over_its_watcher();
    a_twin_comes_back();
    nested_instances();
    closed_behind_the_shim();
    return verdict();
}
