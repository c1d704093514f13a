/* Threads race on the same few descriptor numbers: dup2, close, close_range, epoll_create1,
 * epoll_ctl. When they are done, all numbers of one instance in the kernel are one instance in the
 * ledger, with the same interests. Arguments: the first seed, how many seeds, and "meanwhile" if
 * the ledger is to be compared while the threads race, too. Without the library nothing is
 * checked. */
#include "../check.h"
#include "epollshim.h"

#define THREADS 4
#define ROUNDS 400
#define NUMBERS 24
#define BASE 100
#define END (BASE + NUMBERS + 8)

typedef int (*instance_stats)(size_t size, int epfd, struct epollshim_instance_stats *out);
typedef int (*process_stats)(size_t size, struct epollshim_stats *out);

static unsigned seed;
static volatile int racing;

static void *race(void *number) {
    unsigned state = seed * 977 + (unsigned)(intptr_t)number * 131;
    for (int i = 0; i < ROUNDS; i++) {
        int fd = BASE + rand_r(&state) % NUMBERS, other = BASE + rand_r(&state) % NUMBERS, made;
        struct epoll_event event = {.events = EPOLLIN}, got[4];
        switch (rand_r(&state) % 13) {
        case 0: made = epoll_create1(0), dup2(made, fd), close(made); break;
        case 1: made = eventfd(1, 0), dup2(made, fd), close(made); break;
        case 2: close(fd); break;
        case 3: case 4: dup2(fd, other); break;
        case 5: case 6: case 7: epoll_ctl(fd, EPOLL_CTL_ADD, other, &event); break;
        case 8: epoll_ctl(fd, EPOLL_CTL_DEL, other, &event); break;
        case 9: epoll_ctl(fd, EPOLL_CTL_MOD, other, &event); break;
        case 10: epoll_wait(fd, got, 4, 0); break;
        case 11:
            made = fcntl(fd, F_DUPFD, BASE + rand_r(&state) % NUMBERS);
            if (made >= BASE + NUMBERS) close(made);
            break;
        case 12:
            if (rand_r(&state) % 4) syscall(SYS_close, fd);
            else close_range((unsigned)fd, (unsigned)(fd + 2 < BASE + NUMBERS ? fd + 2 : fd), 0);
            break;
        }
    }
    __sync_fetch_and_sub(&racing, 1);
    return NULL;
}

static int is_epoll(int fd) {
    char path[64], target[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(path, target, sizeof target - 1);
    return length > 0 && strncmp(target, "anon_inode:[eventpoll]", (size_t)length) == 0;
}

static int interests(int epfd) {
    char path[64], line[256];
    int count = 0;
    snprintf(path, sizeof path, "/proc/self/fdinfo/%d", epfd);
    FILE *info = fopen(path, "re");
    while (info != NULL && fgets(line, sizeof line, info) != NULL) count += strncmp(line, "tfd:", 4) == 0;
    if (info != NULL) fclose(info);
    return count;
}

/* How many numbers refer to another instance in the ledger than in the kernel, or to one with other
 * interests. */
static int differences(process_stats stats, instance_stats of_instance) {
    struct epollshim_stats all = {0};
    struct epollshim_instance_stats of[END];
    int fds[END], count = 0, instances = 0, watches = 0, bad = 0;
    if (stats(sizeof all, &all) != 0 || !all.reconciled) return -1;
    for (int fd = 3; fd < END; fd++) {
        if (is_epoll(fd)) fds[count++] = fd;
    }
    for (int i = 0; i < count; i++) {
        int is_first = 1;
        if (of_instance(sizeof of[i], fds[i], &of[i]) != 0) of[i].id = 0;
        for (int j = 0; j < i; j++) {
            int same = syscall(SYS_kcmp, getpid(), getpid(), KCMP_FILE, fds[i], fds[j]) == 0;
            bad += same != (of[i].id == of[j].id);
            is_first &= !same;
        }
        bad += of[i].id == 0 || of[i].watches_live != (uint64_t)interests(fds[i]);
        if (is_first) instances++, watches += interests(fds[i]);
    }
    return bad + (all.instances_live != (uint64_t)instances) + (all.watches_live != (uint64_t)watches);
}

int main(int count, char **arguments) {
    unsigned first = count > 1 ? (unsigned)atoi(arguments[1]) : 1, seeds = count > 2 ? (unsigned)atoi(arguments[2]) : 100;
    int meanwhile = count > 3, bad = 0, unclaimed = 0, comparisons = 0;
    process_stats stats = (process_stats)(uintptr_t)dlsym(RTLD_DEFAULT, "epollshim_stats");
    instance_stats of_instance = (instance_stats)(uintptr_t)dlsym(RTLD_DEFAULT, "epollshim_instance_stats");
    for (seed = first; seed < first + seeds; seed++) {
        pthread_t threads[THREADS];
        racing = THREADS;
        for (intptr_t i = 0; i < THREADS; i++) pthread_create(&threads[i], NULL, race, (void *)i);
        while (meanwhile && racing > 0 && stats != NULL) {
            struct epollshim_stats all;
            comparisons += stats(sizeof all, &all) == 0;
        }
        for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
        int differ = stats == NULL ? 0 : differences(stats, of_instance);
        if (differ < 0) unclaimed++;
        if (differ > 0) {
            if (bad++ < 5) say("FAIL seed %u: %d numbers differ, though the report says that it agrees\n", seed, differ);
            checks_failed = 1;
        }
    }
    check_equal(bad, 0, "seeds that differ", __LINE__);
    check_equal(unclaimed, 0, "seeds without a comparison", __LINE__);
    return verdict();
}
