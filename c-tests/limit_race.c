/* limit_race WHAT LIMIT AMOUNT: sixteen threads against a limit of LIMIT, which the environment has
 * set.
 *
 * burst instances|watches
 *     all create at the same time, AMOUNT times: exactly LIMIT of them succeed
 * fair
 *     each holds at most one instance, and LIMIT is sixteen: none is ever refused
 * instances|watches|memory|instance-watches|wild
 *     AMOUNT milliseconds of random work. Every thread keeps a count that never exceeds the
 *     kernel's (plus one after a call that creates, minus one before a call that ends), and a
 *     checker reads /proc: neither ever exceeds LIMIT. At the end, exactly LIMIT can be created
 *     again. */
#include "limit.h"

#define THREADS 16
/* Calls that work, in a run of random work. */
#define ENOUGH 100

static long limit, amount;
static volatile long held, highest, refused, worked;
static volatile int over;
static pthread_barrier_t barrier;
static const char *what;

static __thread uint64_t state;

static unsigned pick(unsigned bound) {
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    return (unsigned)((state * 2685821657736338717u) >> 33) % bound;
}

static void made(long size) {
    long now = __sync_add_and_fetch(&held, size), before;
    __sync_fetch_and_add(&worked, 1);
    while ((before = highest) < now && !__sync_bool_compare_and_swap(&highest, before, now)) continue;
}

static void ends(long size) { __sync_fetch_and_sub(&held, size); }

static void was_refused(int error) {
    __sync_fetch_and_add(&refused, 1);
    QUIETLY(errno == error);
}

/* ---- burst ---- */

static int common_epfd;

static void *burst(void *number) {
    static int got[THREADS], fds[THREADS];
    long self = (long)number;
    int watches = strcmp(what, "watches") == 0;
    fds[self] = eventfd(0, 0);
    for (long round = 0; round < amount; round++) {
        pthread_barrier_wait(&barrier);
        if (watches) got[self] = add(common_epfd, fds[self], EPOLLIN);
        else got[self] = self % 2 ? epoll_create1(0) : epoll_create(1);
        if (got[self] < 0) QUIETLY(errno == (watches ? ENOSPC : EMFILE));
        pthread_barrier_wait(&barrier);
        if (self == 0) {
            int sum = 0;
            for (int i = 0; i < THREADS; i++) sum += got[i] >= 0;
            if (sum != limit) check_equal(sum, limit, "of sixteen who asked at once, got it", __LINE__);
        }
        pthread_barrier_wait(&barrier);
        if (got[self] < 0) continue;
        if (!watches || (round + self) % 2 == 0) {
            close(watches ? fds[self] : got[self]);
            if (watches) fds[self] = eventfd(0, 0);
        } else {
            epoll_ctl(common_epfd, EPOLL_CTL_DEL, fds[self], NULL);
        }
    }
    return NULL;
}

/* ---- fair ---- */

static void *fair(void *number) {
    state = (uint64_t)number * 77777 + 5;
    for (long round = 0; round < amount; round++) {
        int epfd = pick(2) ? epoll_create1(0) : epoll_create(3);
        if (epfd < 0) {
            was_refused(EMFILE);
            continue;
        }
        int other = pick(4) == 0 ? dup(epfd) : -1;
        switch (pick(4)) {
        case 0: close_range((unsigned)epfd, (unsigned)epfd, 0); break;
        case 1: syscall(SYS_close, epfd); break;
        default: close(epfd);
        }
        if (other >= 0) close(other);
    }
    return NULL;
}

/* ---- random work ---- */

#define MINE 16

static void *instances(void *number) {
    int mine[MINE], copies[MINE], spare = eventfd(0, 0);
    state = (uint64_t)number * 1234567 + 1;
    memset(mine, -1, sizeof mine);
    memset(copies, -1, sizeof copies);
    while (!over) {
        int i = (int)pick(MINE);
        if (mine[i] < 0) {
            mine[i] = pick(2) ? epoll_create1(EPOLL_CLOEXEC) : (int)syscall(SYS_epoll_create1, 0);
            if (mine[i] < 0) was_refused(EMFILE);
            else made(1);
            continue;
        }
        if (copies[i] < 0 && pick(3) == 0) {
            copies[i] = pick(2) ? dup(mine[i]) : fcntl(mine[i], F_DUPFD_CLOEXEC, 100);
            QUIETLY(copies[i] >= 0);
            continue;
        }
        if (pick(4) == 0) add(mine[i], spare, EPOLLIN);
        if (copies[i] >= 0) {
            close(copies[i]);
            copies[i] = -1;
            continue;
        }
        ends(1);
        switch (pick(5)) {
        case 0: syscall(SYS_close, mine[i]); break;
        case 1: close_range((unsigned)mine[i], (unsigned)mine[i], 0); break;
        case 2:
            dup2(spare, mine[i]);
            close(mine[i]);
            break;
        default: close(mine[i]);
        }
        mine[i] = -1;
    }
    for (int i = 0; i < MINE; i++) {
        if (mine[i] >= 0) ends(1);
        close(mine[i]), close(copies[i]);
    }
    close(spare);
    return NULL;
}

static int shared[4];

/* Watches of four instances that stay. With memory, also instances that come and go. */
static void *watches(void *number) {
    int fds[MINE], in[MINE], bytes = strcmp(what, "memory") == 0, epfd = -1;
    long size = bytes ? 192 : 1;
    int error = bytes ? ENOMEM : ENOSPC;
    state = (uint64_t)number * 7654321 + 1;
    for (int i = 0; i < MINE; i++) fds[i] = eventfd(0, 0), in[i] = -1;
    while (!over) {
        int i = (int)pick(MINE);
        if (bytes && pick(3) == 0) {
            if (epfd < 0) {
                epfd = epoll_create1(0);
                if (epfd < 0) was_refused(ENOMEM);
                else made(704);
            } else {
                ends(704);
                close(epfd);
                epfd = -1;
            }
            continue;
        }
        if (in[i] < 0) {
            int to = (int)pick(4);
            if (pick(8) == 0) {
                /* A call that fails for another reason leaves nothing behind. */
                struct epoll_event event = interest(EPOLLIN, 1);
                QUIETLY(epoll_ctl(shared[to], EPOLL_CTL_ADD, shared[to], &event) == -1 && errno == EINVAL);
                QUIETLY(epoll_ctl(shared[to], EPOLL_CTL_ADD, 9999, &event) == -1 && errno == EBADF);
            }
            if (add(shared[to], fds[i], EPOLLIN) == 0) in[i] = to, made(size);
            else was_refused(error);
            continue;
        }
        if (pick(8) == 0) QUIETLY(add(shared[in[i]], fds[i], EPOLLIN) == -1 && errno == EEXIST);
        ends(size);
        if (pick(2)) {
            QUIETLY(epoll_ctl(shared[in[i]], EPOLL_CTL_DEL, fds[i], NULL) == 0);
        } else {
            switch (pick(3)) {
            case 0: close(fds[i]); break;
            case 1: syscall(SYS_close, fds[i]); break;
            case 2: close_range((unsigned)fds[i], (unsigned)fds[i], 0); break;
            }
            fds[i] = eventfd(0, 0);
        }
        in[i] = -1;
    }
    for (int i = 0; i < MINE; i++) {
        if (in[i] >= 0) ends(size);
        close(fds[i]);
    }
    if (epfd >= 0) ends(704), close(epfd);
    return NULL;
}

static pthread_rwlock_t replaced[4] = {PTHREAD_RWLOCK_INITIALIZER, PTHREAD_RWLOCK_INITIALIZER, PTHREAD_RWLOCK_INITIALIZER,
                                       PTHREAD_RWLOCK_INITIALIZER};

/* Four instances that are replaced by others, which may get their numbers and their records. They
 * are replaced between two calls of the threads that use them, or (`wild`) at any moment: then an
 * ADD in progress may reach another instance than intended, and only the final state can be
 * checked. */
static void *instance_watches(void *number) {
    int fds[MINE], wild = strcmp(what, "wild") == 0;
    state = (uint64_t)number * 7654321 + 1;
    for (int i = 0; i < MINE; i++) fds[i] = eventfd(0, 0);
    while (!over) {
        int i = (int)pick(MINE), to = (int)pick(4);
        switch (pick(60)) {
        case 0:
            if ((long)number >= 4) break;
            to = (int)(long)number;
            if (!wild) pthread_rwlock_wrlock(&replaced[to]);
            close(shared[to]);
            shared[to] = epoll_create1(0);
            if (!wild) pthread_rwlock_unlock(&replaced[to]);
            break;
        case 1:
        case 2:
            close(fds[i]);
            fds[i] = eventfd(0, 0);
            break;
        default:
            if (!wild) pthread_rwlock_rdlock(&replaced[to]);
            if (pick(3) == 0) epoll_ctl(shared[to], EPOLL_CTL_DEL, fds[i], NULL);
            else if (add(shared[to], fds[i], EPOLLIN) == 0) __sync_fetch_and_add(&worked, 1);
            else if (errno == ENOSPC) __sync_fetch_and_add(&refused, 1);
            if (!wild) pthread_rwlock_unlock(&replaced[to]);
        }
    }
    for (int i = 0; i < MINE; i++) close(fds[i]);
    return NULL;
}

/* Each reading of an interest list shows one moment. */
static void check_the_kernel(void) {
    if (strcmp(what, "instances") == 0 || strcmp(what, "wild") == 0) {
        nap(5);
        return;
    }
    long most = strcmp(what, "memory") == 0 ? (limit - 4 * 704) / 192 : limit;
    for (int i = 0; i < 4; i++) {
        int now = watches_of(shared[i]);
        if (now > most) check_equal(now, most, "interests in /proc, at most", __LINE__);
    }
}

int main(int count, char **arguments) {
    pthread_t threads[THREADS];
    if (count < 4) return 2;
    what = arguments[1];
    int bursting = strcmp(what, "burst") == 0;
    if (bursting) what = arguments[2], arguments++;
    limit = atol(arguments[2]), amount = atol(arguments[3]);
    setrlimit(RLIMIT_NOFILE, &(struct rlimit){4096, 4096});
    pthread_barrier_init(&barrier, NULL, THREADS);
    int watching = strcmp(what, "instances") != 0 && strcmp(what, "fair") != 0;
    void *(*body)(void *) = bursting                                 ? burst
                            : strcmp(what, "fair") == 0              ? fair
                            : strcmp(what, "instances") == 0         ? instances
                            : strcmp(what, "instance-watches") == 0  ? instance_watches
                            : strcmp(what, "wild") == 0              ? instance_watches
                                                                     : watches;
    if (watching) {
        for (int i = 0; i < 4; i++) shared[i] = epoll_create1(0);
        common_epfd = shared[0];
        if (strcmp(what, "memory") == 0) made(4 * 704);
    }
    for (long i = 0; i < THREADS; i++) pthread_create(&threads[i], NULL, body, (void *)i);
    if (!bursting && strcmp(what, "fair") != 0) {
        /* For longer if a busy machine has not let the threads do enough; not without an end. */
        int64_t end = now_ns() + amount * 1000000, last = end + 60000000000;
        while (now_ns() < end || (now_ns() < last && (worked <= ENOUGH || refused == 0))) check_the_kernel();
        over = 1;
    }
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    if (bursting || strcmp(what, "fair") == 0) EQUAL(refused, 0);
    else {
        CHECK(worked > ENOUGH);
        CHECK(refused > 0);
        if (highest > limit) EQUAL(highest, limit);
    }
    /* All of it can be created again. */
    if (strcmp(what, "memory") == 0) {
        EQUAL(held, 4 * 704);
        EQUAL(watches_to_be_had(shared[0]), (limit - 4 * 704) / 192 < 256 ? (limit - 4 * 704) / 192 : 256);
    } else if (watching) {
        for (int i = 0; i < 4; i++) EQUAL(watches_of(shared[i]), 0);
        for (int i = 0; i < 4; i++) EQUAL(watches_to_be_had(shared[i]), limit);
    } else {
        EQUAL(instances_to_be_had(), limit);
    }
    EQUAL(held, strcmp(what, "memory") == 0 ? 4 * 704 : 0);
    return verdict();
}
