/* What each action and each condition of a rule does, and that the kernel is not asked where it
 * must not be.
 *
 * Long because it has one function per action and condition, which all use the same few helpers. */
#include "fault_rows.h"

static int epfd, ready, idle, spare;
static struct epoll_event got[64];

static void build(void) {
    epfd = epoll_create1(EPOLL_CLOEXEC);
    ready = eventfd(1, 0);
    idle = eventfd(0, 0);
    spare = eventfd(0, 0);
    QUIETLY(add(epfd, ready, EPOLLIN | EPOLLONESHOT) == 0 && add(epfd, idle, EPOLLIN) == 0);
}

/* Every call of every family, by its function and by number. `expect` is what all of them
 * return. */
static void all_calls(long expect, int error) {
    struct epoll_event change = interest(EPOLLIN | EPOLLOUT | EPOLLET, 5);
    struct timespec no_time = {0, 0};
    struct state before = state_of(epfd);
#define UNMADE(call)                                               \
    do {                                                           \
        memset(got, 0x5a, sizeof got);                             \
        CALL_(call, expect, error, 0);                             \
        SAME_STATE(before, epfd);                                  \
        for (size_t i_ = 0; i_ < sizeof got; i_++) {               \
            QUIETLY(((unsigned char *)got)[i_] == 0x5a);           \
        }                                                          \
    } while (0)
    UNMADE(epoll_create(1));
    UNMADE(epoll_create1(0));
    UNMADE(epoll_ctl(epfd, EPOLL_CTL_ADD, spare, &change));
    UNMADE(epoll_ctl(epfd, EPOLL_CTL_MOD, idle, &change));
    UNMADE(epoll_ctl(epfd, EPOLL_CTL_DEL, idle, NULL));
    UNMADE(epoll_ctl(epfd, 77, idle, &change));
    UNMADE(epoll_wait(epfd, got, 64, -1));
    UNMADE(epoll_pwait(epfd, got, 64, -1, NULL));
    UNMADE(epoll_pwait2(epfd, got, 64, &no_time, NULL));
    UNMADE(close(idle));
    UNMADE(dup(ready));
    UNMADE(dup2(ready, 90));
    UNMADE(dup3(ready, 91, O_CLOEXEC));
    UNMADE(fcntl(ready, F_DUPFD, 92));
    UNMADE(fcntl(ready, F_SETFD, FD_CLOEXEC));
    UNMADE(close_range(3, 99, 0));
    UNMADE(syscall(SYS_epoll_create, 1));
    UNMADE(syscall(SYS_epoll_create1, 0));
    UNMADE(syscall(SYS_epoll_ctl, epfd, EPOLL_CTL_DEL, idle, NULL));
    UNMADE(syscall(SYS_epoll_wait, epfd, got, 64, -1));
    UNMADE(syscall(SYS_epoll_pwait, epfd, got, 64, -1, NULL, 8));
    UNMADE(syscall(SYS_epoll_pwait2, epfd, got, 64, &no_time, NULL, 8));
    UNMADE(syscall(SYS_close, idle));
    UNMADE(syscall(SYS_dup, ready));
    UNMADE(syscall(SYS_dup2, ready, 90));
    UNMADE(syscall(SYS_dup3, ready, 91, 0));
    UNMADE(syscall(SYS_fcntl, ready, F_DUPFD, 92));
    UNMADE(syscall(SYS_close_range, 3, 99, 0));
    DISARM();
    /* The oneshot interest is still armed: no wait has taken its event. */
    GIVES(epoll_wait(epfd, got, 64, 0), 1);
    EQUAL(got[0].data.u64, ready);
    LEDGER_KNOWS();
}

static void errors(void) {
    build();
    ARM("all:error=EUCLEAN");
    all_calls(-1, EUCLEAN);
}

static void values(void) {
    build();
    ARM("all:retval=0");
    all_calls(0, SENTINEL);
}

static void no_error_without_a_name(void) {
    build();
    ARM("all:error=4095");
    all_calls(-1, 4095);
}

/* A made-up number belongs to no descriptor, and a wait that returns 2 has written nothing. */
static void made_up_values(void) {
    build();
    struct state before = state_of(epfd);
    ARM("epoll_create,epoll_create1,dup,dup2,dup3,fcntl:retval=77;epoll_wait:retval=2");
    GIVES(epoll_create(1), 77);
    GIVES(epoll_create1(0), 77);
    GIVES(dup(epfd), 77);
    GIVES(dup2(epfd, 77), 77);
    GIVES(dup3(epfd, 77, 0), 77);
    GIVES(fcntl(epfd, F_DUPFD, 77), 77);
    memset(got, 0, sizeof got);
    GIVES(epoll_wait(epfd, got, 2, 0), 2);
    EQUAL(got[0].events, 0);
    /* A wait that asked for one event never returns two: the rule does not fire. */
    GIVES(epoll_wait(epfd, got, 1, 0), 1);
    EQUAL(got[0].data.u64, ready);
    DISARM();
    QUIETLY(before.open[0] != 0 && strcmp(before.open, state_of(epfd).open) == 0);
    LEDGER_KNOWS();
}

static void timeouts(void) {
    build();
    ARM("epoll_wait,epoll_pwait,epoll_pwait2:timeout");
    struct timespec long_time = {50, 0};
    int64_t began = now_ns();
    GIVES(epoll_wait(epfd, got, 64, -1), 0);
    GIVES(epoll_wait(epfd, got, 64, 0), 0);
    GIVES(epoll_pwait(epfd, got, 64, 50000, NULL), 0);
    GIVES(epoll_pwait2(epfd, got, 64, &long_time, NULL), 0);
    GIVES(epoll_pwait2(epfd, got, 64, NULL, NULL), 0);
    GIVES(syscall(SYS_epoll_wait, epfd, got, 64, -1), 0);
    CHECK(now_ns() - began < 20000000000);
    DISARM();
    GIVES(epoll_wait(epfd, got, 64, -1), 1);
}

/* Edge-triggered sockets with few events per wait: every edge is reported once. */
static void batches(void) {
    enum { SOCKETS = 60 };
    int ends[SOCKETS][2], told[SOCKETS] = {0}, waits = 0, most = 0;
    epfd = epoll_create1(0);
    for (int i = 0; i < SOCKETS; i++) {
        struct epoll_event event = interest(EPOLLIN | EPOLLET, (uint64_t)i);
        QUIETLY(socketpair(AF_UNIX, SOCK_STREAM, 0, ends[i]) == 0);
        QUIETLY(epoll_ctl(epfd, EPOLL_CTL_ADD, ends[i][0], &event) == 0);
    }
    ARM("epoll_wait,epoll_pwait,epoll_pwait2:batch=7");
    for (int round = 1; round <= 3; round++) {
        for (int i = 0; i < SOCKETS; i++) QUIETLY(write(ends[i][1], "x", 1) == 1);
        for (;;) {
            struct timespec no_time = {0, 0};
            int count = waits % 3 == 0   ? epoll_wait(epfd, got, 64, 0)
                        : waits % 3 == 1 ? epoll_pwait(epfd, got, 64, 0, NULL)
                                         : epoll_pwait2(epfd, got, 64, &no_time, NULL);
            QUIETLY(count >= 0 && count <= 7);
            if (count <= 0) break;
            waits++;
            if (count > most) most = count;
            for (int i = 0; i < count; i++) told[got[i].data.u64]++;
        }
        for (int i = 0; i < SOCKETS; i++) QUIETLY(told[i] == round);
    }
    EQUAL(most, 7);
    EQUAL(waits, 27);
    /* A wait that asks for fewer events does not get more, and a wrong number stays wrong. */
    for (int i = 0; i < SOCKETS; i++) QUIETLY(write(ends[i][1], "x", 1) == 1);
    GIVES(epoll_wait(epfd, got, 3, 0), 3);
    FAILS(epoll_wait(epfd, got, 0, 0), EINVAL);
    FAILS(syscall(SYS_epoll_wait, epfd, got, -1, 0), EINVAL);
    FAILS(syscall(SYS_epoll_wait, epfd, got, 178956971, 0), EINVAL);
}

static void forged(void) {
    build();
    QUIETLY(epollshim_inject_clear() == 0);
    GIVES(add(epfd, spare, EPOLLOUT), 0);
    ARM("epoll_wait:forge=EPOLLHUP|EPOLLERR:when=2");
    GIVES(epoll_wait(epfd, got, 64, 0), 2);
    EQUAL(got[0].events, EPOLLIN);
    EQUAL(got[1].events, EPOLLOUT);
    GIVES(epoll_wait(epfd, got, 64, 0), 1);
    EQUAL(got[0].events, EPOLLOUT | EPOLLHUP | EPOLLERR);
    EQUAL(got[0].data.u64, spare);
    /* The real bits are still the kernel's. */
    GIVES(epoll_wait(epfd, got, 64, 0), 1);
    EQUAL(got[0].events, EPOLLOUT);
    DISARM();
    FAILS(epollshim_inject("epoll_wait:forge=EPOLLRDHUP"), EINVAL);
    CHECK(strstr(epollshim_error(), "EPOLLSHIM_INJECT_IMPOSSIBLE=1") != NULL);
    FAILS(epollshim_inject("epoll_ctl:retval=1"), EINVAL);
    CHECK(strstr(epollshim_error(), "EPOLLSHIM_INJECT_IMPOSSIBLE=1") != NULL);
}

/* With EPOLLSHIM_INJECT_IMPOSSIBLE=1. */
static void impossible(void) {
    build();
    ARM("epoll_wait:forge=EPOLLRDHUP|EPOLLPRI");
    GIVES(epoll_wait(epfd, got, 64, 0), 1);
    EQUAL(got[0].events, EPOLLIN | EPOLLRDHUP | EPOLLPRI);
    ARM("epoll_ctl:retval=1;epoll_create1:retval=-5000;dup:retval=0x100000005;epoll_wait:retval=100");
    GIVES(epoll_ctl(epfd, EPOLL_CTL_DEL, ready, NULL), 1);
    GIVES(epoll_create1(0), -5000);
    GIVES(dup(ready), 5);
    GIVES(syscall(SYS_dup, ready), 0x100000005);
    GIVES(epoll_wait(epfd, got, 2, 0), 100);
    DISARM();
    LEDGER_KNOWS();
}

static void say_order(int count) {
    char line[256];
    size_t length = 0;
    for (int i = 0; i < count; i++) length += (size_t)snprintf(line + length, sizeof line - length, " %d", (int)got[i].data.u64);
    say("order%s\n", line);
}

/* Prints the orders: they repeat with EPOLLSHIM_SEED. */
static void shuffled(void) {
    enum { READY = 20 };
    int changed = 0;
    epfd = epoll_create1(0);
    for (int i = 0; i < READY; i++) {
        struct epoll_event event = interest(EPOLLIN, (uint64_t)i);
        QUIETLY(epoll_ctl(epfd, EPOLL_CTL_ADD, eventfd(1, 0), &event) == 0);
    }
    ARM("epoll_wait:shuffle");
    for (int round = 0; round < 10; round++) {
        int seen[READY] = {0}, in_order = 1;
        QUIETLY(epoll_wait(epfd, got, 64, 0) == READY);
        for (int i = 0; i < READY; i++) {
            seen[got[i].data.u64]++;
            in_order &= got[i].data.u64 == (uint64_t)i && got[i].events == EPOLLIN;
        }
        for (int i = 0; i < READY; i++) QUIETLY(seen[i] == 1);
        changed += !in_order;
        say_order(READY);
    }
    CHECK(changed >= 9);
    DISARM();
    GIVES(epoll_wait(epfd, got, 64, 0), READY);
}

static void delays(void) {
    build();
    static const char *const rules[] = {"all:delay_enter=20ms", "all:delay_exit=20ms", "all:delay_enter=10ms:delay_exit=10000"};
    for (int i = 0; i < 3; i++) {
        ARM(rules[i]);
        int64_t began = now_ns();
#define TAKES(call, expected)                                         \
    do {                                                              \
        int64_t start_ = now_ns();                                    \
        GIVES(call, expected);                                        \
        CHECK(now_ns() - start_ >= 20000000);                         \
    } while (0)
        TAKES(add(epfd, spare, EPOLLIN), 0);
        TAKES(epoll_wait(epfd, got, 64, 0), i == 0);
        TAKES(epoll_pwait(epfd, got, 64, 0, NULL), 0);
        TAKES(syscall(SYS_epoll_wait, epfd, got, 64, 0), 0);
        TAKES(dup2(spare, 80), 80);
        TAKES(fcntl(80, F_GETFD), 0);
        TAKES(close(80), 0);
        TAKES(epoll_ctl(epfd, EPOLL_CTL_DEL, spare, NULL), 0);
        CHECK(now_ns() - began >= 160000000);
        DISARM();
    }
    /* A failure is returned after the delay, with its own errno. */
    ARM("epoll_ctl:delay_exit=20ms");
    int64_t start = now_ns();
    FAILS(epoll_ctl(epfd, EPOLL_CTL_DEL, spare, NULL), ENOENT);
    CHECK(now_ns() - start >= 20000000);
    LEDGER_KNOWS();
}

static void ordinals(void) {
    build();
    static const struct {
        const char *rule;
        const char *fires;
    } forms[] = {
        {"epoll_wait:error=EINTR:when=3", "..x......."},       {"epoll_wait:error=EINTR:when=3..5", "..xxx....."},
        {"epoll_wait:error=EINTR:when=3+", "..xxxxxxxx"},      {"epoll_wait:error=EINTR:when=3+2", "..x.x.x.x."},
        {"epoll_wait:error=EINTR:when=3..6+", "..xxxx...."},   {"epoll_wait:error=EINTR:when=3..8+2", "..x.x.x..."},
        {"epoll_wait:error=EINTR:when=1..1", "x........."},    {"epoll_wait:error=EINTR:when=10", ".........x"},
        {"epoll_wait:error=EINTR:max=4", "xxxx......"},        {"epoll_wait:error=EINTR:when=2+2:max=3", ".x.x.x...."},
        {"epoll_wait:error=EINTR:max=0", ".........."},        {"epoll_wait:error=EINTR:prob=0", ".........."},
        {"epoll_wait:error=EINTR:prob=1", "xxxxxxxxxx"},       {"epoll_wait:error=EINTR:prob=1:when=1+3", "x..x..x..x"},
        {"epoll_wait:error=EINTR:after=3600s", ".........."},  {"epoll_wait:error=EINTR:after=1ns", "xxxxxxxxxx"},
        {"epoll_wait:error=EINTR:scope=thread:when=2", ".x........"},
        {"epoll_wait:error=EINTR:scope=process:when=2", ".x........"},
    };
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        char fired[11] = "";
        ARM(forms[i].rule);
        for (int call = 0; call < 10; call++) {
            /* Other calls do not count. */
            QUIETLY(epoll_pwait(epfd, got, 1, 0, NULL) >= 0);
            fired[call] = epoll_wait(epfd, got, 1, 0) == -1 && errno == EINTR ? 'x' : '.';
        }
        CHECK(strcmp(fired, forms[i].fires) == 0);
        if (strcmp(fired, forms[i].fires) != 0) say("     %s: expected %s, got %s\n", forms[i].rule, forms[i].fires, fired);
    }
}

static void after_a_time(void) {
    build();
    ARM("epoll_wait:error=EINTR:after=400ms");
    /* Since the start of the process, which is not long ago. */
    int early = epoll_wait(epfd, got, 1, 0);
    int64_t began = now_ns();
    while (epoll_wait(epfd, got, 1, 0) != -1 && now_ns() - began < 30000000000) nap(5);
    CHECK(errno == EINTR);
    say("     the first call %s\n", early == -1 ? "came too late to tell" : "was let through");
    /* The library is initialised after the fork. */
    CHECK(age_ms() >= 400);
}

static void arguments(void) {
    build();
    int other = epoll_create1(0);
    struct epoll_event in = interest(EPOLLIN, 1), edge = interest(EPOLLIN | EPOLLET | EPOLLRDHUP, 2);
    char rule[128];

    ARM("epoll_ctl:error=ENOMEM:op=ADD");
    FAILS(epoll_ctl(epfd, EPOLL_CTL_ADD, spare, &in), ENOMEM);
    GIVES(epoll_ctl(epfd, EPOLL_CTL_MOD, idle, &in), 0);
    GIVES(epoll_ctl(epfd, EPOLL_CTL_DEL, idle, &in), 0);
    FAILS(epoll_ctl(epfd, 5, idle, &in), EINVAL);
    ARM("epoll_ctl:error=ENOMEM:op=MOD");
    GIVES(epoll_ctl(epfd, EPOLL_CTL_ADD, idle, &in), 0);
    FAILS(epoll_ctl(epfd, EPOLL_CTL_MOD, idle, &in), ENOMEM);
    GIVES(epoll_ctl(epfd, EPOLL_CTL_DEL, idle, &in), 0);
    ARM("epoll_ctl:error=ENOMEM:op=EPOLL_CTL_DEL");
    GIVES(epoll_ctl(epfd, EPOLL_CTL_ADD, idle, &in), 0);
    FAILS(epoll_ctl(epfd, EPOLL_CTL_DEL, idle, &in), ENOMEM);

    snprintf(rule, sizeof rule, "all:error=EBUSY:fd=%d", spare);
    ARM(rule);
    FAILS(epoll_ctl(epfd, EPOLL_CTL_ADD, spare, &in), EBUSY);
    FAILS(dup(spare), EBUSY);
    FAILS(dup2(spare, 70), EBUSY);
    FAILS(dup3(spare, 70, 0), EBUSY);
    FAILS(fcntl(spare, F_GETFD), EBUSY);
    FAILS(close(spare), EBUSY);
    FAILS(syscall(SYS_close, spare), EBUSY);
    GIVES(fcntl(idle, F_GETFD), 0);
    GIVES(dup2(idle, 70), 70);
    GIVES(close(70), 0);
    GIVES(epoll_wait(epfd, got, 1, 0), 1);

    snprintf(rule, sizeof rule, "epoll_ctl,epoll_wait,epoll_pwait,epoll_pwait2:error=EBUSY:epfd=%d", other);
    ARM(rule);
    struct timespec no_time = {0, 0};
    GIVES(epoll_wait(epfd, got, 1, 0), 0);
    FAILS(epoll_wait(other, got, 1, 0), EBUSY);
    FAILS(epoll_pwait(other, got, 1, 0, NULL), EBUSY);
    FAILS(epoll_pwait2(other, got, 1, &no_time, NULL), EBUSY);
    FAILS(syscall(SYS_epoll_wait, other, got, 1, 0), EBUSY);
    FAILS(epoll_ctl(other, EPOLL_CTL_ADD, spare, &in), EBUSY);
    GIVES(epoll_ctl(epfd, EPOLL_CTL_ADD, spare, &in), 0);
    GIVES(epoll_ctl(epfd, EPOLL_CTL_DEL, spare, &in), 0);

    ARM("epoll_ctl:error=EBUSY:events=EPOLLET|EPOLLIN");
    GIVES(epoll_ctl(epfd, EPOLL_CTL_ADD, spare, &in), 0);
    FAILS(epoll_ctl(epfd, EPOLL_CTL_MOD, spare, &edge), EBUSY);
    FAILS(syscall(SYS_epoll_ctl, epfd, EPOLL_CTL_MOD, spare, &edge), EBUSY);
    GIVES(epoll_ctl(epfd, EPOLL_CTL_DEL, spare, NULL), 0);
    /* The kernel refuses what cannot be read. */
    FAILS(epoll_ctl(epfd, EPOLL_CTL_ADD, spare, NULL), EFAULT);
    FAILS(epoll_ctl(epfd, EPOLL_CTL_ADD, spare, nowhere()), EFAULT);
    FAILS(epoll_ctl(epfd, EPOLL_CTL_ADD, spare, (struct epoll_event *)((char *)nowhere() - 4)), EFAULT);

    /* Ordinals count only the calls that match. */
    snprintf(rule, sizeof rule, "epoll_ctl:error=EBUSY:op=ADD:epfd=%d:when=2", epfd);
    ARM(rule);
    GIVES(epoll_ctl(other, EPOLL_CTL_ADD, spare, &in), 0);
    GIVES(epoll_ctl(epfd, EPOLL_CTL_ADD, spare, &in), 0);
    GIVES(epoll_ctl(epfd, EPOLL_CTL_DEL, spare, &in), 0);
    FAILS(epoll_ctl(other, EPOLL_CTL_ADD, spare, &in), EEXIST);
    FAILS(epoll_ctl(epfd, EPOLL_CTL_ADD, spare, &in), EBUSY);
    GIVES(epoll_ctl(epfd, EPOLL_CTL_ADD, spare, &in), 0);
    DISARM();
    LEDGER_KNOWS();
}

/* The first rule that fires decides. The rules after it still count the call. */
static void order_of_rules(void) {
    build();
    ARM("epoll_wait:error=EBADF:when=2;epoll_wait:error=EINTR:when=2..4;epoll:error=EFAULT:when=4+2:scope=rule");
    GIVES(epoll_wait(epfd, got, 1, 0), 1);
    FAILS(epoll_wait(epfd, got, 1, 0), EBADF);
    FAILS(epoll_wait(epfd, got, 1, 0), EINTR);
    FAILS(epoll_wait(epfd, got, 1, 0), EINTR);
    GIVES(epoll_wait(epfd, got, 1, 0), 0);
    FAILS(epoll_pwait(epfd, got, 1, 0, NULL), EFAULT);
    GIVES(epoll_pwait(epfd, got, 1, 0, NULL), 0);
    FAILS(epoll_create1(0), EFAULT);
    /* A rule that is used up leaves the call to the next rule. */
    ARM("dup:error=EMFILE:max=2;dup:error=ENFILE:max=1");
    FAILS(dup(ready), EMFILE);
    FAILS(dup(ready), EMFILE);
    FAILS(dup(ready), ENFILE);
    QUIETLY(dup(ready) >= 0);
    /* So does a rule that does not fit the wait. */
    ARM("epoll_wait:retval=3;epoll_wait:error=EINTR");
    GIVES(epoll_wait(epfd, got, 3, 0), 3);
    FAILS(epoll_wait(epfd, got, 2, 0), EINTR);
}

/* A call for which no rule fires is as without rules: results, errno, state. */
static void quiet_rules(void) {
    build();
    ARM("all:error=EIO:when=1000000;epoll_wait:delay_enter=9s:prob=0;epoll_ctl:error=EIO:events=EPOLLPRI;all:signal=KILL:max=0");
    struct epoll_event change = interest(EPOLLIN, 5);
    GIVES(epoll_wait(epfd, got, 64, -1), 1);
    GIVES(epoll_wait(epfd, got, 64, 1), 0);
    GIVES(epoll_ctl(epfd, EPOLL_CTL_ADD, spare, &change), 0);
    FAILS(epoll_ctl(epfd, EPOLL_CTL_ADD, spare, &change), EEXIST);
    GIVES(epoll_ctl(epfd, EPOLL_CTL_DEL, spare, NULL), 0);
    FAILS(epoll_wait(epfd, nowhere(), 0, 0), EINVAL);
    FAILS(epoll_wait(-1, got, 1, 0), EBADF);
    FAILS(close(-1), EBADF);
    FAILS(dup2(-1, 5), EBADF);
    GIVES(dup2(spare, spare), spare);
    int copy = WORKS(dup(spare)), instance = WORKS(epoll_create1(0));
    GIVES(fcntl(copy, F_GETFD), 0);
    GIVES(close(copy), 0);
    GIVES(syscall(SYS_close, instance), 0);
    FAILS(syscall(SYS_close, instance), EBADF);
    FAILS(syscall(SYS_epoll_ctl, epfd, EPOLL_CTL_DEL, spare, NULL), ENOENT);
    DISARM();
    LEDGER_KNOWS();
}

/* As the kernel does it: a small negative number is an errno. */
static void negative_values(void) {
    build();
    struct state before = state_of(epfd);
    ARM("epoll_ctl:retval=-22;epoll_wait:retval=-4;dup:retval=-1;close:retval=-4095");
    FAILS(epoll_ctl(epfd, EPOLL_CTL_DEL, ready, NULL), EINVAL);
    FAILS(epoll_wait(epfd, got, 2, -1), EINTR);
    FAILS(syscall(SYS_epoll_wait, epfd, got, 2, -1), EINTR);
    FAILS(dup(ready), EPERM);
    FAILS(close(ready), 4095);
    SAME_STATE(before, epfd);
}

/* A known number of calls, for the report. The rules come from the environment. */
static void counted(void) {
    struct epoll_event in = interest(EPOLLIN, 1);
    memset(got, 0, sizeof got);
    epfd = epoll_create1(0);
    int fd = eventfd(1, 0), made_up = epoll_create1(0);
    EQUAL(made_up, 77);
    QUIETLY(epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &in) == 0);
    int another = eventfd(1, 0);
    EQUAL(epoll_ctl(epfd, EPOLL_CTL_ADD, another, &in), -1);
    EQUAL(epoll_ctl(epfd, EPOLL_CTL_MOD, fd, &in), 0);
    EQUAL(epoll_ctl(epfd, EPOLL_CTL_DEL, another, &in), -1);
    for (int i = 1; i <= 20; i++) {
        int count = epoll_wait(epfd, got, 8, 0);
        EQUAL(count, i <= 3 ? -1 : i == 10 ? 0 : 1);
    }
    for (int i = 0; i < 5; i++) EQUAL(epoll_pwait(epfd, got, 8, 0, NULL), 1);
    for (int i = 0; i < 7; i++) EQUAL(dup(-1), -1);
    exit(verdict());
}

static const struct mode modes[] = {
    {"errors", errors},           {"values", values},         {"errno_4095", no_error_without_a_name},
    {"made_up", made_up_values},  {"timeouts", timeouts},     {"batches", batches},
    {"forged", forged},           {"impossible", impossible}, {"shuffled", shuffled},
    {"delays", delays},           {"ordinals", ordinals},     {"after", after_a_time},
    {"arguments", arguments},     {"order", order_of_rules},  {"quiet", quiet_rules},
    {"negative", negative_values},
    {"counted", counted},
};

int main(int argc, char **argv) { return RUN_MODE(modes, argc, argv); }
