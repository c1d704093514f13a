/* known_counts THREADS ROUNDS [signal]: makes every epoll call, with every errno that it can return
 * here, a known number of times: from THREADS threads, from the end of each thread, and with
 * `signal` from handlers that interrupt them. Prints one line of JSON: what it did, by its own
 * count. */
#include "check.h"

enum { CREATE, CREATE1, CTL, WAIT, PWAIT, PWAIT2, CALLS };
static const char *const call_names[CALLS] = {"epoll_create", "epoll_create1", "epoll_ctl",
                                              "epoll_wait",   "epoll_pwait",   "epoll_pwait2"};
static const struct {
    int number;
    const char *name;
} errors[] = {{EBADF, "EBADF"},   {EEXIST, "EEXIST"}, {EFAULT, "EFAULT"}, {EINTR, "EINTR"}, {EINVAL, "EINVAL"},
              {ELOOP, "ELOOP"},   {EMFILE, "EMFILE"}, {ENOENT, "ENOENT"}, {EPERM, "EPERM"}};
#define ERRORS (sizeof errors / sizeof *errors)

/* Written by one thread, or by the handlers of one thread, and read when both have ended. */
struct tally {
    volatile uint64_t calls[CALLS], failed[CALLS][ERRORS], added, modified, deleted;
};

static struct tally tallies[65][2]; /* by thread (the last: main), outside and inside its handlers */
static __thread struct tally *mine;
static int file, event_fd, quiet_fd;
static volatile int none_at_all; /* a maxevents that the compiler cannot check */
static long rounds;
static volatile int finished;
static pthread_barrier_t all_done;
static pthread_key_t key;

static long note(struct tally *tally, int call, long result) {
    tally->calls[call]++;
    if (result >= 0) return result;
    for (size_t i = 0; i < ERRORS; i++) {
        if (errors[i].number != errno) continue;
        tally->failed[call][i]++;
        return result;
    }
    fprintf(stderr, "FAIL %s: unexpected errno %d\n", call_names[call], errno);
    _exit(1);
}

static void ctl(struct tally *tally, int raw, int epfd, int op, int fd, struct epoll_event *event) {
    long result = raw ? syscall(SYS_epoll_ctl, epfd, op, fd, event) : epoll_ctl(epfd, op, fd, event);
    if (note(tally, CTL, result) != 0) return;
    if (op == EPOLL_CTL_ADD) tally->added++;
    if (op == EPOLL_CTL_MOD) tally->modified++;
    if (op == EPOLL_CTL_DEL) tally->deleted++;
}

static void script(struct tally *t) {
    struct epoll_event event = interest(EPOLLIN, 1), got[4];
    struct timespec zero = {0, 0}, soon = {0, 1000000}, odd = {0, -1};
    sigset_t usr1, usr2, before; /* a wait must not let SIGUSR1 into the handler of SIGUSR1 */
    sigemptyset(&usr1);
    sigaddset(&usr1, SIGUSR1);
    sigemptyset(&usr2);
    sigaddset(&usr2, SIGUSR2);

    int epfd = (int)note(t, CREATE, epoll_create(3)), other = (int)note(t, CREATE1, epoll_create1(EPOLL_CLOEXEC));
    int raw = (int)note(t, CREATE1, syscall(SYS_epoll_create1, 0)), twin = dup(epfd);
#ifdef SYS_epoll_create
    close((int)note(t, CREATE, syscall(SYS_epoll_create, 9)));
    note(t, CREATE, syscall(SYS_epoll_create, -4));
#endif
    /* musl takes any size. */
    int sizeless = (int)note(t, CREATE, epoll_create(0));
    if (sizeless >= 0) close(sizeless);
    note(t, CREATE1, epoll_create1(1));

    ctl(t, 0, epfd, EPOLL_CTL_ADD, event_fd, &event);
    ctl(t, 0, twin, EPOLL_CTL_ADD, event_fd, &event);
    ctl(t, 1, other, EPOLL_CTL_ADD, event_fd, &event);
    ctl(t, 0, other, EPOLL_CTL_ADD, quiet_fd, &event);
    ctl(t, 0, raw, EPOLL_CTL_ADD, quiet_fd, &event);
    ctl(t, 1, twin, EPOLL_CTL_MOD, event_fd, &event);
    ctl(t, 0, epfd, EPOLL_CTL_MOD, quiet_fd, &event);
    ctl(t, 0, epfd, EPOLL_CTL_DEL, quiet_fd, NULL);
    ctl(t, 0, epfd, EPOLL_CTL_ADD, 9999, &event);
    ctl(t, 0, 9999, EPOLL_CTL_DEL, event_fd, NULL);
    ctl(t, 0, epfd, EPOLL_CTL_ADD, epfd, &event);
    ctl(t, 0, epfd, 77, event_fd, &event);
    ctl(t, 0, epfd, EPOLL_CTL_ADD, file, &event);
    ctl(t, 0, epfd, EPOLL_CTL_ADD, raw, &event);
    ctl(t, 0, raw, EPOLL_CTL_ADD, twin, &event);
    ctl(t, 1, epfd, EPOLL_CTL_MOD, event_fd, nowhere());
    ctl(t, 0, other, EPOLL_CTL_DEL, event_fd, NULL);

    note(t, WAIT, epoll_wait(epfd, got, 4, 0));
    note(t, WAIT, epoll_wait(other, got, 4, 1));
    note(t, WAIT, epoll_wait(9999, got, 4, 0));
    note(t, WAIT, epoll_wait(epfd, got, none_at_all, 0));
    note(t, WAIT, epoll_wait(epfd, nowhere(), 1, 0));
    note(t, PWAIT, epoll_pwait(epfd, got, 1, 100, NULL));
    note(t, PWAIT, epoll_pwait(other, got, 4, 0, &usr1));
    note(t, PWAIT, epoll_pwait(9999, got, 4, 0, &usr2));
    note(t, PWAIT, epoll_pwait(file, got, 4, 0, NULL));
    note(t, PWAIT, epoll_pwait(epfd, got, 4, 0, nowhere()));
    note(t, PWAIT, syscall(SYS_epoll_pwait, epfd, got, 4, 0, NULL, 8));
    note(t, PWAIT2, epoll_pwait2(epfd, got, 4, NULL, NULL));
    note(t, PWAIT2, epoll_pwait2(other, got, 4, &zero, NULL));
    note(t, PWAIT2, epoll_pwait2(epfd, got, 4, &odd, NULL));
    note(t, PWAIT2, epoll_pwait2(9999, got, 4, &zero, NULL));
    note(t, PWAIT2, epoll_pwait2(epfd, got, 4, nowhere(), NULL));
#ifdef SYS_epoll_wait
    note(t, WAIT, syscall(SYS_epoll_wait, epfd, got, 4, 0));
#endif
#ifdef SYS_epoll_pwait2
    note(t, PWAIT2, syscall(SYS_epoll_pwait2, epfd, got, 4, &zero, NULL, 8));
#endif
    /* A pending signal that the wait lets in. (The timeout is needed because a handler
     * that did the same may have taken it.) */
    pthread_sigmask(SIG_BLOCK, &usr2, &before);
    pthread_kill(pthread_self(), SIGUSR2);
    note(t, PWAIT, epoll_pwait(other, got, 4, 1, &usr1));
    pthread_kill(pthread_self(), SIGUSR2);
    note(t, PWAIT2, epoll_pwait2(other, got, 4, &soon, &usr1));
    pthread_sigmask(SIG_SETMASK, &before, NULL);

    ctl(t, 0, other, EPOLL_CTL_DEL, quiet_fd, nowhere());
    close(epfd);
    close(other);
    close(twin);
    syscall(SYS_close, raw);
}

static void on_signal(int number) {
    int kept = errno;
    if (number == SIGUSR1 && mine != NULL) script(mine + 1);
    errno = kept;
}

static void thread_end(void *tally) { script(tally); }

static void *thread_of(void *argument) {
    struct tally *tally = argument;
    mine = tally;
    for (long i = 0; i < rounds; i++) script(tally);
    __sync_fetch_and_add(&finished, 1);
    pthread_barrier_wait(&all_done);
    pthread_setspecific(key, tally);
    return NULL;
}

/* The table is full, so both creations fail. It belongs to the whole process, so only main does
 * this. */
static void full_table(struct tally *tally) {
    struct rlimit before, tight;
    int lowest = dup(0);
    close(lowest);
    getrlimit(RLIMIT_NOFILE, &before);
    tight = before;
    tight.rlim_cur = (rlim_t)lowest;
    setrlimit(RLIMIT_NOFILE, &tight);
    note(tally, CREATE, epoll_create(1));
    note(tally, CREATE1, epoll_create1(0));
    note(tally, CREATE1, epoll_create1(EPOLL_CLOEXEC));
    setrlimit(RLIMIT_NOFILE, &before);
}

static void print(void) {
    struct tally sum;
    memset((void *)&sum, 0, sizeof sum);
    for (int i = 0; i < 65; i++) {
        for (int side = 0; side < 2; side++) {
            struct tally *tally = &tallies[i][side];
            sum.added += tally->added, sum.modified += tally->modified, sum.deleted += tally->deleted;
            for (int call = 0; call < CALLS; call++) {
                sum.calls[call] += tally->calls[call];
                for (size_t error = 0; error < ERRORS; error++) sum.failed[call][error] += tally->failed[call][error];
            }
        }
    }
    printf("{\"calls\":{");
    for (int call = 0; call < CALLS; call++) {
        const char *comma = "";
        printf("%s\"%s\":{\"calls\":%llu,\"errors\":{", call ? "," : "", call_names[call], (unsigned long long)sum.calls[call]);
        for (size_t error = 0; error < ERRORS; error++) {
            if (sum.failed[call][error] == 0) continue;
            printf("%s\"%s\":%llu", comma, errors[error].name, (unsigned long long)sum.failed[call][error]);
            comma = ",";
        }
        printf("}}");
    }
    printf("},\"watches\":{\"added\":%llu,\"modified\":%llu,\"deleted\":%llu}}\n", (unsigned long long)sum.added,
           (unsigned long long)sum.modified, (unsigned long long)sum.deleted);
}

int main(int count, char **arguments) {
    int threads = count > 1 ? atoi(arguments[1]) : 1, signals = count > 3 && strcmp(arguments[3], "signal") == 0;
    rounds = count > 2 ? atol(arguments[2]) : 100;
    struct tally *main_tally = tallies[64];
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    pthread_t ids[64];
    char path[] = "/tmp/epollshim-counts-XXXXXX";
    if (threads < 1 || threads > 64) return 2;
    sigaction(SIGUSR1, &action, NULL);
    sigaction(SIGUSR2, &action, NULL);
    nowhere();
    file = mkstemp(path);
    unlink(path);
    event_fd = eventfd(1, 0);
    quiet_fd = eventfd(0, 0);
    full_table(main_tally);
    if (threads == 1 && !signals) {
        for (long i = 0; i < rounds; i++) script(main_tally);
        print();
        return 0;
    }
    pthread_key_create(&key, thread_end);
    pthread_barrier_init(&all_done, NULL, (unsigned)threads + 1);
    for (int i = 0; i < threads; i++) pthread_create(&ids[i], NULL, thread_of, tallies[i]);
    while (signals && finished < threads) {
        for (int i = 0; i < threads; i++) pthread_kill(ids[i], SIGUSR1);
        /* A handler sleeps for 3 ms and makes 45 calls, each with a line of the log. The thread
         * must make progress in between. */
        struct timespec pace = {0, 20000000};
        nanosleep(&pace, NULL);
    }
    pthread_barrier_wait(&all_done);
    for (int i = 0; i < threads; i++) pthread_join(ids[i], NULL);
    print();
    return 0;
}
