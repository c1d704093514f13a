/* Faults with several threads, and the C interface that arms them. */
#include "fault_rows.h"

enum { THREADS = 16 };
static int epfd;
static pthread_barrier_t start;
static int results[THREADS][40];
static volatile int stop;

static int many(int count, void *(*work)(void *)) {
    pthread_t threads[THREADS];
    pthread_barrier_init(&start, NULL, (unsigned)count);
    for (int i = 0; i < count; i++) QUIETLY(pthread_create(&threads[i], NULL, work, (void *)(intptr_t)i) == 0);
    for (int i = 0; i < count; i++) pthread_join(threads[i], NULL);
    return pthread_barrier_destroy(&start);
}

static void *forty_waits(void *number) {
    struct epoll_event event;
    int *of = results[(intptr_t)number];
    pthread_barrier_wait(&start);
    for (int i = 0; i < 40; i++) of[i] = epoll_wait(epfd, &event, 1, 0) == -1 && errno == EINTR;
    return NULL;
}

static int sum(void) {
    int all = 0;
    for (int i = 0; i < THREADS; i++) {
        for (int j = 0; j < 40; j++) all += results[i][j];
    }
    return all;
}

/* Each ordinal of the process is given to one call. Each thread has its own ordinals. */
static void scopes(void) {
    for (int round = 0; round < 5; round++) {
        ARM("epoll_wait:error=EINTR:when=7+5:scope=process");
        many(THREADS, forty_waits);
        EQUAL(sum(), 127); /* 7, 12, ... 637 of 640 */
        ARM("epoll_wait:error=EINTR:when=3:scope=process");
        many(THREADS, forty_waits);
        EQUAL(sum(), 1);
        ARM("epoll_wait:error=EINTR:when=7+5:scope=thread");
        many(THREADS, forty_waits);
        EQUAL(sum(), 7 * THREADS); /* 7, 12, ... 37 of 40, of each */
        for (int i = 0; i < THREADS; i++) {
            for (int j = 0; j < 40; j++) QUIETLY(results[i][j] == (j + 1 >= 7 && (j + 1 - 7) % 5 == 0));
        }
        /* A random choice among a thread's own ordinals is the same for all threads. */
        ARM("epoll_wait:error=EINTR:prob=0.5:scope=thread");
        many(THREADS, forty_waits);
        for (int i = 1; i < THREADS; i++) QUIETLY(memcmp(results[i], results[0], sizeof results[0]) == 0);
    }
}

/* Exactly this often, however many threads race. */
static void most(void) {
    for (int round = 0; round < 20; round++) {
        ARM("epoll_wait:error=EINTR:max=100");
        many(THREADS, forty_waits);
        QUIETLY(sum() == 100);
        ARM("epoll_wait:error=EINTR:max=3:when=50+");
        many(THREADS, forty_waits);
        QUIETLY(sum() == 3);
        ARM("epoll_wait:error=EINTR:max=20:scope=thread:when=2");
        many(THREADS, forty_waits);
        QUIETLY(sum() == THREADS);
    }
}

static void texts(void) {
    static const struct {
        const char *rules, *says;
    } wrong[] = {
        {"", "rule"},
        {"epoll_wait", "epoll_wait"},
        {"epoll_wait:error=ENOSUCH", "ENOSUCH"},
        {"epoll_wait:error=EINTRR", "EINTR"},
        {"epol_wait:error=EINTR", "epoll_wait"},
        {"epoll_wait:eror=EINTR", "error"},
        {"epoll_wait:error=EINTR;", "rule 2"},
        {"epoll_wait:error=EINTR;dup:error=0", "0"},
        {"epoll_wait:when=1", "error="},
        {"epoll_wait:error=EINTR:when=0", "0"},
        {"epoll_ctl:timeout", "timeout"},
        {"epoll_wait:error=EINTR:op=ADD", "op"},
        {"epoll_wait:error=EINTR:retval=0", "retval"},
        {"epoll_wait:forge=EPOLLIN", "EPOLLSHIM_INJECT_IMPOSSIBLE"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        FAILS(epollshim_inject(wrong[i].rules), EINVAL);
        say("     %s: %s\n", wrong[i].rules, epollshim_error());
        CHECK(strstr(epollshim_error(), wrong[i].says) != NULL);
        /* A text with a mistake arms nothing. */
        GIVES(epoll_wait(epfd, &(struct epoll_event){.events = 0}, 1, 0), 0);
    }
    FAILS(epollshim_inject(NULL), EINVAL);
    CHECK(strstr(epollshim_error(), "null") != NULL);
}

static int fails(void) {
    struct epoll_event event;
    errno = 0;
    return epoll_wait(epfd, &event, 1, 0) == -1 ? errno : 0;
}

/* Rules are appended to those that are armed. If there would be more than 64, none of the text is
 * armed. */
static void adding(void) {
    GIVES(epollshim_inject("epoll_wait:error=EINTR:when=2"), 0);
    EQUAL(fails(), 0);
    GIVES(epollshim_inject("epoll_wait:error=EBADF:when=1..2"), 0);
    EQUAL(fails(), EINTR);
    EQUAL(fails(), EBADF); /* its second: it counts from its own start */
    EQUAL(fails(), 0);
    GIVES(epollshim_inject_clear(), 0);
    EQUAL(fails(), 0);

    char rules[64 * 40] = "dup:error=EMFILE:max=1";
    for (int i = 1; i < 62; i++) strcat(rules, ";dup:error=EMFILE:max=1");
    GIVES(epollshim_inject(rules), 0);
    GIVES(epollshim_inject("epoll_wait:error=EFAULT:max=1"), 0);
    FAILS(epollshim_inject("epoll_wait:error=EINTR;epoll_wait:error=EINTR"), EINVAL);
    say("     %s\n", epollshim_error());
    CHECK(strstr(epollshim_error(), "64") != NULL);
    EQUAL(fails(), EFAULT);
    EQUAL(fails(), 0);
    GIVES(epollshim_inject("epoll_wait:error=EINTR:max=1"), 0);
    EQUAL(fails(), EINTR);
    EQUAL(fails(), 0);
    FAILS(epollshim_inject("dup:error=EMFILE"), EINVAL);
    for (int i = 0; i < 62; i++) QUIETLY(dup(epfd) == -1 && errno == EMFILE);
    QUIETLY(dup(epfd) >= 0);
    GIVES(epollshim_inject_clear(), 0);
    GIVES(epollshim_inject_clear(), 0);
    QUIETLY(dup(epfd) >= 0);
    /* A text that is too long for the table, although it has few rules. */
    static char text[20000];
    memset(text, 0, sizeof text);
    strcpy(text, "epoll_wait:error=EINTR");
    memset(text + strlen(text), ':', 17000);
    FAILS(epollshim_inject(text), EINVAL);
    EQUAL(fails(), 0);
    GIVES(epollshim_inject("epoll_wait:error=EINTR:max=1"), 0);
    EQUAL(fails(), EINTR);
}

static void resets(void) {
    ARM("epoll_wait:error=EINTR:when=2;epoll_wait:error=EBADF:when=1:scope=thread;dup:error=EMFILE:max=1");
    for (int round = 0; round < 3; round++) {
        EQUAL(fails(), EBADF);
        EQUAL(fails(), EINTR);
        EQUAL(fails(), 0);
        FAILS(dup(epfd), EMFILE);
        QUIETLY(dup(epfd) >= 0);
        GIVES(epollshim_reset(), 0);
    }
}

static volatile int seen[4200];
static void *notes_errors(void *unused) {
    struct epoll_event events[4];
    pthread_barrier_wait(&start);
    while (!stop) {
        errno = 0;
        int count = epoll_wait(epfd, events, 4, 0);
        if (count == -1) seen[errno] = 1;
        else seen[count == 0 ? 0 : 4100 + count] = 1;
        if (epoll_pwait(epfd, events, 4, 0, NULL) != 0) seen[4150] = 1;
        if (dup(-1) != -1 || (errno != EBADF && errno != EMFILE)) seen[4151] = 1;
    }
    return unused;
}

/* Armed and cleared 10,000 times while four threads make calls: they only ever see whole rules. */
static void storm(void) {
    pthread_t threads[4];
    pthread_barrier_init(&start, NULL, 5);
    for (int i = 0; i < 4; i++) pthread_create(&threads[i], NULL, notes_errors, NULL);
    pthread_barrier_wait(&start);
    static const char *const rules[] = {
        "epoll_wait:error=ENOTNAM",
        "epoll_wait:error=ENAVAIL:when=1;epoll_wait:error=EISNAM;dup:error=EMFILE",
        "epoll_pwait:error=EREMOTEIO:op=ADD:fd=7;epoll_ctl:error=EUCLEAN",
        "epoll_wait:retval=3;epoll_pwait:retval=0",
        "epoll_wait:error=ENOTNAM:prob=0.5:scope=thread;epoll_wait:retval=0:max=5",
        "close:error=EIO;fcntl:error=EIO;epoll_wait:error=EBADE:epfd=4000",
    };
    int armed = 0;
    for (int i = 0; i < 10000; i++) {
        const char *text = rules[(size_t)(i * 7 + i / 6) % (sizeof rules / sizeof *rules)];
        if (strncmp(text, "epoll_pwait:error", 17) == 0) QUIETLY(epollshim_inject(text) == -1 && errno == EINVAL);
        else armed += epollshim_inject(text) == 0;
        if (i % 50 == 0) sched_yield();
        QUIETLY(epollshim_inject_clear() == 0);
    }
    stop = 1;
    for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
    CHECK(armed > 8000);
    for (int i = 1; i < 4200; i++) {
        if (seen[i] && i != ENOTNAM && i != ENAVAIL && i != EISNAM && i != 4103) {
            checks_failed = 1;
            say("FAIL seen what no rule says: %d\n", i);
        }
    }
    CHECK(seen[0]);
    ARM("epoll_wait:error=EINTR:when=2:max=1");
    EQUAL(fails(), 0);
    EQUAL(fails(), EINTR);
    EQUAL(fails(), 0);
}

/* Calls that still read an earlier generation of the table do not disturb a rule's count. */
static void counts_in_a_storm(void) {
    pthread_t threads[4];
    int wrong = 0;
    pthread_barrier_init(&start, NULL, 5);
    for (int i = 0; i < 4; i++) pthread_create(&threads[i], NULL, notes_errors, NULL);
    pthread_barrier_wait(&start);
    for (int i = 0; i < 3000; i++) {
        QUIETLY(epollshim_inject("epoll_create1:error=EMFILE:max=2;epoll_wait:error=ENOTNAM:max=1") == 0);
        for (int call = 0; call < 2; call++) wrong += epoll_create1(0) != -1;
        int made = epoll_create1(0);
        wrong += made == -1;
        close(made);
        QUIETLY(epollshim_inject_clear() == 0);
        QUIETLY(epollshim_inject_clear() == 0);
    }
    stop = 1;
    for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
    EQUAL(wrong, 0);
}

static void *arms_and_clears(void *unused) {
    pthread_barrier_wait(&start);
    while (!stop) {
        epollshim_inject("dup3:error=EMFILE;dup3:error=EBUSY:when=3");
        epollshim_inject_clear();
    }
    return unused;
}

/* A child of fork can arm rules, whatever another thread of its parent was doing to the rules. */
static void children_arm(void) {
    pthread_t thread;
    int wrong = 0;
    pthread_barrier_init(&start, NULL, 2);
    pthread_create(&thread, NULL, arms_and_clears, NULL);
    pthread_barrier_wait(&start);
    for (int i = 0; i < 300; i++) {
        pid_t child = fork();
        if (child == 0) {
            if (epollshim_inject_clear() != 0) _exit(1);
            if (epollshim_inject("epoll_wait:error=EINTR:max=1") != 0) _exit(2);
            _exit(fails() != EINTR ? 3 : fails() != 0 ? 4 : 0);
        }
        int status = status_of(child);
        if (status != 0 && wrong++ == 0) say("FAIL a child ends with %d\n", status);
    }
    stop = 1;
    pthread_join(thread, NULL);
    EQUAL(wrong, 0);
}

/* If several threads arm and clear at the same time, each succeeds or gets EBUSY, and what is armed
 * last works. */
static void racing_arms(void) {
    for (int round = 0; round < 100; round++) {
        pthread_t thread;
        stop = 0;
        pthread_barrier_init(&start, NULL, 2);
        pthread_create(&thread, NULL, arms_and_clears, NULL);
        pthread_barrier_wait(&start);
        while (epollshim_inject("epoll_create:error=ENFILE") != 0) QUIETLY(errno == EBUSY);
        stop = 1;
        pthread_join(thread, NULL);
        int armed = epollshim_inject("epoll_pwait:error=EINTR:max=1");
        QUIETLY(armed == 0);
        QUIETLY(epoll_pwait(epfd, &(struct epoll_event){.events = 0}, 1, 0, NULL) == -1 && errno == EINTR);
        DISARM();
    }
}

static const struct mode modes[] = {
    {"scopes", scopes}, {"most", most},   {"texts", texts},
    {"adding", adding}, {"resets", resets}, {"storm", storm},
    {"counts_in_a_storm", counts_in_a_storm}, {"children_arm", children_arm}, {"racing_arms", racing_arms},
};

int main(int argc, char **argv) {
    epfd = epoll_create1(EPOLL_CLOEXEC);
    return RUN_MODE(modes, argc, argv);
}
