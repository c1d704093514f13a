/* Descriptor numbers change without the library's knowledge, by system calls that the program makes
 * itself: numbers of one instance become those of two, two become one, a watched number gets
 * another file. Each time the ledger is compared, and agrees with the kernel, and what is closed
 * afterwards through libc is tracked exactly. */
#include "../check.h"
#include "epollshim.h"

typedef int (*instance_stats)(size_t size, int epfd, struct epollshim_instance_stats *out);
typedef int (*process_stats)(size_t size, struct epollshim_stats *out);
static process_stats stats;
static instance_stats of_instance;

static long raw(long number, long a, long b) {
    long result;
    __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b) : "rcx", "r11", "memory");
    return result;
}
static int moved(int from, int to) { return (int)raw(SYS_dup2, from, to); }
static int gone(int fd) { return (int)raw(SYS_close, fd, 0); }

static unsigned long healed(void) {
    struct epollshim_stats all = {0};
    if (stats == NULL) return 0;
    stats(sizeof all, &all);
    CHECK(all.reconciled == 1);
    return all.healed + all.unseen_watches + all.unseen_instances;
}

/* What the kernel has, without the library. */
static long watches(int epfd) {
    struct epollshim_instance_stats one = {0};
    char path[64], line[256];
    long count = 0;
    healed();
    if (of_instance != NULL) return of_instance(sizeof one, epfd, &one) == 0 ? (long)one.watches_live : -1;
    snprintf(path, sizeof path, "/proc/self/fdinfo/%d", epfd);
    FILE *info = fopen(path, "re");
    while (info != NULL && fgets(line, sizeof line, info) != NULL) count += strncmp(line, "tfd:", 4) == 0;
    if (info != NULL) fclose(info);
    return count;
}

static int are_one(int one, int other) {
    struct epollshim_instance_stats a = {0}, b = {0};
    healed();
    if (of_instance == NULL) return syscall(SYS_kcmp, getpid(), getpid(), KCMP_FILE, one, other) == 0;
    of_instance(sizeof a, one, &a), of_instance(sizeof b, other, &b);
    return a.id != 0 && a.id == b.id;
}

static void live(int instances, long interests) {
    struct epollshim_stats all = {.instances_live = (uint64_t)instances, .watches_live = (uint64_t)interests};
    if (stats != NULL) stats(sizeof all, &all);
    GIVES((long)all.instances_live, instances);
    GIVES((long)all.watches_live, interests);
}

static void one_becomes_two(void) {
    int one = epoll_create1(0), other = epoll_create1(0), twin = dup(one), fd = eventfd(1, 0);
    add(one, fd, EPOLLIN);
    CHECK(are_one(one, twin));
    moved(other, twin);
    CHECK(!are_one(one, twin));
    CHECK(are_one(other, twin));
    GIVES(watches(one), 1);
    GIVES(watches(twin), 0);
    unsigned long before = healed();
    GIVES(close(other), 0);
    live(2, 1);
    GIVES(close(one), 0);
    live(1, 0);
    GIVES(close(twin), 0);
    GIVES(close(fd), 0);
    live(0, 0);
    CHECK(healed() == before);
}

static void two_become_one(void) {
    int one = epoll_create1(0), other = epoll_create1(0), fd = eventfd(1, 0);
    add(one, fd, EPOLLIN);
    add(other, fd, EPOLLIN | EPOLLET);
    moved(one, other);
    CHECK(are_one(one, other));
    live(1, 1);
    unsigned long before = healed();
    GIVES(close(one), 0);
    live(1, 1);
    GIVES(close(fd), 0);
    live(1, 0);
    GIVES(close(other), 0);
    live(0, 0);
    CHECK(healed() == before);
}

static void a_number_of_an_instance_gets_a_file(void) {
    int one = epoll_create1(0), twin = dup(one), fd = eventfd(1, 0);
    add(one, fd, EPOLLIN);
    moved(fd, twin);
    live(1, 1);
    unsigned long before = healed();
    GIVES(close(one), 0);
    live(0, 0);
    GIVES(close(twin), 0);
    GIVES(close(fd), 0);
    CHECK(healed() == before);
}

static void empty_instances_exchange_numbers(void) {
    int one = epoll_create1(0), other = epoll_create1(0), of_one = dup(one), of_other = dup(other);
    moved(one, of_other);
    moved(other, of_one);
    CHECK(are_one(one, of_other));
    CHECK(are_one(other, of_one));
    live(2, 0);
    unsigned long before = healed();
    GIVES(close(one), 0);
    GIVES(close(other), 0);
    live(2, 0);
    GIVES(close(of_one), 0);
    GIVES(close(of_other), 0);
    live(0, 0);
    CHECK(healed() == before);
}

/* The number of an interest gets another file, while a dup keeps the watched one. */
static void a_watched_number_moves(int socket_type) {
    int epfd = epoll_create1(0), fds[2], others[2];
    if (socket_type != 0) {
        socketpair(AF_UNIX, socket_type, 0, fds), socketpair(AF_UNIX, socket_type, 0, others);
    } else {
        fds[0] = eventfd(0, 0), fds[1] = eventfd(0, 0), others[0] = eventfd(0, 0), others[1] = eventfd(0, 0);
    }
    int twin = dup(fds[0]);
    add(epfd, fds[0], EPOLLIN);
    moved(others[0], fds[0]);
    live(1, 1);
    unsigned long before = healed();
    /* It refers to nothing that is watched. */
    GIVES(close(fds[0]), 0);
    live(1, 1);
    CHECK(healed() == before);
    /* The ghost gets its number back, and is watched a second time. */
    GIVES(dup2(others[1], fds[0]), fds[0]);
    GIVES(add(epfd, fds[0], EPOLLIN), 0);
    live(1, 2);
    GIVES(close(others[1]), 0);
    GIVES(close(fds[0]), 0);
    live(1, 1);
    CHECK(healed() == before);
    close(twin), close(fds[1]), close(others[0]), close(epfd);
    live(0, 0);
}

/* A dup of the watched file gets another file. */
static void a_dup_of_a_watched_file_moves(void) {
    int epfd = epoll_create1(0), fd = eventfd(0, 0), other = eventfd(0, 0);
    add(epfd, fd, EPOLLIN);
    int twin = dup(fd);
    moved(other, twin);
    live(1, 1);
    unsigned long before = healed();
    GIVES(close(fd), 0);
    live(1, 0);
    CHECK(healed() == before);
    close(twin), close(other), close(epfd);
    live(0, 0);
}

static void a_watched_number_is_closed(void) {
    int epfd = epoll_create1(0), fd = eventfd(0, 0), twin = dup(fd);
    add(epfd, fd, EPOLLIN);
    gone(fd);
    live(1, 1);
    GIVES(close(twin), 0);
    live(1, 0);
    GIVES(close(epfd), 0);
    live(0, 0);
}

int main(void) {
    stats = (process_stats)(uintptr_t)dlsym(RTLD_DEFAULT, "epollshim_stats");
    of_instance = (instance_stats)(uintptr_t)dlsym(RTLD_DEFAULT, "epollshim_instance_stats");
    one_becomes_two();
    two_become_one();
    a_number_of_an_instance_gets_a_file();
    empty_instances_exchange_numbers();
    a_watched_number_moves(0);
    a_watched_number_moves(SOCK_STREAM);
    a_dup_of_a_watched_file_moves();
    a_watched_number_is_closed();
    return verdict();
}
