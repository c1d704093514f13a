/* random_ops SEED N [strict]: N operations on descriptors and instances, drawn from SEED. Every 64
 * operations the ledger must have as many instances and interests as the kernel. `strict` omits
 * operations that bypass the library, and then the ledger must have known everything by itself.
 * Prints a hash of every result, which the library must not change. */
#include "check.h"

#define LOWEST 3
#define TOP 96
#ifndef EVERY
#define EVERY 64 /* operations between two comparisons */
#endif

enum kind { CLOSED, EPOLL, OTHER };
static unsigned char kinds[TOP];
static uint64_t seed, state, hash = 14695981039346656037u;
static long step;
static int strict, in_child;
static char history[EVERY + 16][96];

static unsigned pick(unsigned bound) {
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    return (unsigned)((state * 2685821657736338717u) >> 33) % bound;
}

/* Every result passes through here: into the hash, and into what is printed on failure. */
__attribute__((format(printf, 2, 3))) static long did(long result, const char *format, ...) {
    int error = result < 0 ? errno : 0;
    char *line = history[step % (EVERY + 16)];
    va_list words;
    va_start(words, format);
    int length = vsnprintf(line, 64, format, words);
    va_end(words);
    snprintf(line + (length < 64 ? length : 63), 32, " = %ld (%d)", result, error);
    hash = (hash ^ (uint64_t)result) * 1099511628211u;
    hash = (hash ^ (uint64_t)error) * 1099511628211u;
    return result;
}

static void learn(long fd, enum kind kind) {
    if (fd >= 0 && fd < TOP) kinds[fd] = (unsigned char)kind;
}

/* A descriptor of this kind (CLOSED: of any kind), if there is one; now and then any number at
 * all. */
static int some(enum kind kind) {
    int start = LOWEST + (int)pick(TOP - LOWEST);
    if (pick(25) == 0) return start;
    for (int i = 0; i < TOP - LOWEST; i++) {
        int fd = LOWEST + (start - LOWEST + i) % (TOP - LOWEST);
        if (kind == CLOSED ? kinds[fd] != CLOSED : kinds[fd] == kind) return fd;
    }
    return start;
}

static void compare(void) {
    ledger_stats stats = (ledger_stats)(uintptr_t)dlsym(RTLD_DEFAULT, "epollshim_stats");
    /* Reading /proc takes descriptors, and the table may be full. */
    setrlimit(RLIMIT_NOFILE, &(struct rlimit){TOP + 50, TOP + 50});
    struct truth truth = kernel_truth();
    struct epollshim_stats ledger;
    hash = (hash ^ (uint64_t)(truth.instances * 1000 + truth.watches)) * 1099511628211u;
    memset(&ledger, 0, sizeof ledger);
    int failed = stats == NULL ? 0 : stats(sizeof ledger, &ledger);
    setrlimit(RLIMIT_NOFILE, &(struct rlimit){TOP, TOP + 50});
    if (stats == NULL) return;
    uint64_t missed = ledger.healed + ledger.unseen_instances + ledger.unseen_watches;
    if (failed == 0 && ledger.instances_live == (uint64_t)truth.instances
        && ledger.watches_live == (uint64_t)truth.watches && !(strict && missed != 0)) {
        return;
    }
    say("FAIL seed %llu, operation %ld%s%s: expected %d instances and %d interests, got %llu and %llu (healed %llu, unseen "
        "%llu and %llu, stats returned %d)\n",
        (unsigned long long)seed, step, strict ? ", strict" : "", in_child ? ", in a child" : "", truth.instances,
        truth.watches, (unsigned long long)ledger.instances_live, (unsigned long long)ledger.watches_live,
        (unsigned long long)ledger.healed, (unsigned long long)ledger.unseen_instances,
        (unsigned long long)ledger.unseen_watches, failed);
    for (int fd = LOWEST; fd < TOP; fd++) {
        char line[256], path[64];
        snprintf(path, sizeof path, "/proc/self/fdinfo/%d", fd);
        FILE *info = fopen(path, "re");
        while (info != NULL && fgets(line, sizeof line, info) != NULL) {
            if (strncmp(line, "tfd:", 4) == 0) say("     the kernel: instance %d watches %d\n", fd, atoi(line + 4));
        }
        if (info != NULL) fclose(info);
    }
    for (long i = step < EVERY + 15 ? 0 : step - EVERY - 15; i <= step; i++) {
        if (history[i % (EVERY + 16)][0]) say("     %ld: %s\n", i, history[i % (EVERY + 16)]);
    }
    _exit(1);
}

static void operation(int most);

static void forked(void) {
    fflush(NULL);
    int fresh = strict || pick(3) == 0, operations = 1 + (int)pick(40);
    pid_t child = fork();
    if (child == 0) {
        alarm(60);
        in_child = 1;
        if (fresh) {
            /* The parent's instances are closed, so nothing is shared. */
            if (close_range(LOWEST, ~0u, 0) != 0) _exit(1);
            memset(kinds, CLOSED, sizeof kinds);
        }
        compare();
        for (int i = 0; i < operations; i++) step++, operation(24);
        compare();
        _exit(11);
    }
    did(status_of(child), "fork");
}

__attribute__((noinline)) static pid_t vforked(void) {
    pid_t child = vfork();
    if (child != 0) return child;
    int fd = epoll_create1(0);
    for (int i = LOWEST; i < TOP; i += 3) dup2(fd, i);
    for (int i = LOWEST; i < TOP; i += 2) close(i);
    close_range(LOWEST, TOP / 2, 0);
    closefrom(LOWEST);
    _exit(12);
}

static void operation(int most) {
    struct epoll_event event = interest(0, 1), got[8];
    static const uint32_t masks[] = {EPOLLIN, EPOLLOUT, EPOLLIN | EPOLLET, EPOLLIN | EPOLLOUT | EPOLLONESHOT, 0, EPOLLIN | EPOLLEXCLUSIVE};
    int fds[2], fd, other;
    long result;
    history[step % (EVERY + 16)][0] = 0;
    event.events = masks[pick(6)];
    switch (pick((unsigned)most)) {
    case 0: learn(did(epoll_create(1 + (int)pick(9)), "epoll_create"), EPOLL); break;
    case 1: learn(did(epoll_create1(pick(2) ? EPOLL_CLOEXEC : 0), "epoll_create1"), EPOLL); break;
    case 2:
    case 3:
    case 4:
        fd = some(EPOLL), other = some(pick(5) ? OTHER : EPOLL);
        did(epoll_ctl(fd, EPOLL_CTL_ADD, other, &event), "epoll_ctl(%d, ADD, %d)", fd, other);
        break;
    case 5:
        fd = some(EPOLL), other = some(CLOSED);
        did(epoll_ctl(fd, EPOLL_CTL_MOD, other, &event), "epoll_ctl(%d, MOD, %d)", fd, other);
        break;
    case 6:
        fd = some(EPOLL), other = some(CLOSED);
        did(epoll_ctl(fd, EPOLL_CTL_DEL, other, NULL), "epoll_ctl(%d, DEL, %d)", fd, other);
        break;
    case 7:
        fd = some(CLOSED);
        learn(did(dup(fd), "dup(%d)", fd), kinds[fd]);
        break;
    case 8:
        fd = some(CLOSED), other = pick(2) ? some(CLOSED) : LOWEST + (int)pick(TOP - LOWEST);
        result = pick(2) ? did(dup2(fd, other), "dup2(%d, %d)", fd, other)
                         : did(syscall(SYS_dup3, fd, other, 0), "SYS_dup3(%d, %d)", fd, other);
        learn(result, kinds[fd]);
        break;
    case 9:
        fd = some(CLOSED), other = pick(2) ? some(CLOSED) : LOWEST + (int)pick(TOP - LOWEST);
        learn(did(dup3(fd, other, O_CLOEXEC), "dup3(%d, %d)", fd, other), kinds[fd]);
        break;
    case 10:
        fd = some(CLOSED), other = (int)pick(TOP);
        result = pick(2) ? did(fcntl(fd, F_DUPFD, other), "F_DUPFD(%d, %d)", fd, other)
                         : did(fcntl(fd, F_DUPFD_CLOEXEC, other), "F_DUPFD_CLOEXEC(%d, %d)", fd, other);
        learn(result, kinds[fd]);
        break;
    case 11:
    case 12:
    case 13:
        fd = some(CLOSED);
        did(close(fd), "close(%d)", fd);
        learn(fd, CLOSED);
        break;
    case 14:
        fd = some(CLOSED);
        did(syscall(SYS_close, fd), "SYS_close(%d)", fd);
        learn(fd, CLOSED);
        break;
    case 15:
        fd = some(CLOSED), other = fd + (int)pick(6);
        did(pick(2) ? close_range((unsigned)fd, (unsigned)other, 0) : syscall(SYS_close_range, fd, other, 0),
            "close_range(%d, %d)", fd, other);
        for (; fd <= other; fd++) learn(fd, CLOSED);
        break;
    case 16:
        fd = TOP - 1 - (int)pick(8);
        closefrom(fd);
        did(0, "closefrom(%d)", fd);
        for (; fd < TOP; fd++) learn(fd, CLOSED);
        break;
    case 17:
        if (did(pipe(fds), "pipe") == 0) learn(fds[0], OTHER), learn(fds[1], OTHER), did(fds[0], "its ends %d", fds[1]);
        break;
    case 18:
        if (did(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), "socketpair") == 0) learn(fds[0], OTHER), learn(fds[1], OTHER);
        break;
    case 19: learn(did(eventfd(pick(2), EFD_NONBLOCK), "eventfd"), OTHER); break;
    case 20:
    case 21:
        fd = some(EPOLL);
        did(pick(2) ? epoll_wait(fd, got, 1 + (int)pick(8), 0) : epoll_pwait(fd, got, 8, 0, NULL), "wait(%d)", fd);
        break;
    case 22:
        fd = some(CLOSED);
        if (pick(2)) did(close_range((unsigned)fd, (unsigned)fd + 3, 4 /* CLOEXEC */), "close_range(%d, CLOEXEC)", fd);
        else did(fcntl(fd, F_SETFD, 0), "F_SETFD(%d)", fd);
        break;
    case 23:
        if (strict) break;
        fd = some(CLOSED);
        FILE *stream = fdopen(fd, "r");
        if (stream == NULL) stream = fdopen(fd, "w");
        did(stream == NULL ? -1 : fclose(stream), "fclose(fdopen(%d))", fd);
        if (stream != NULL) learn(fd, CLOSED);
        break;
    case 24:
        if (pick(6) == 0) forked();
        break;
    case 25:
        if (pick(3) == 0) did(status_of(vforked()), "vfork");
        break;
    }
}

int main(int count, char **arguments) {
    if (count < 3) {
        fprintf(stderr, "usage: random_ops SEED N [strict]\n");
        return 2;
    }
    seed = strtoull(arguments[1], NULL, 0);
    state = seed * 0x9e3779b97f4a7c15u | 1;
    long operations = atol(arguments[2]);
    strict = count > 3 && strcmp(arguments[3], "strict") == 0;
    close_range(LOWEST, ~0u, 0);
    setrlimit(RLIMIT_NOFILE, &(struct rlimit){TOP, TOP + 50});
    for (step = 0; step < operations; step++) {
        operation(26);
        if (step % EVERY == EVERY - 1) compare();
    }
    closefrom(LOWEST);
    compare();
    say("seed %llu, %ld operations%s: all agree, hash %016llx\n", (unsigned long long)seed, operations,
        strict ? ", strict" : "", (unsigned long long)hash);
    return 0;
}
