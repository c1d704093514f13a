/* limit_descriptors WHAT, with descriptors=N:
 *
 * rows                  every call that creates a descriptor is refused at the limit and changes
 *                       nothing; other calls are not refused
 * race COUNT ROUNDS     threads that open and close never have more than the limit, and none is
 *                       refused while there is room
 * ends                  no room is lost by a cancelled thread, a failing call, a fork, or a close
 *                       that the library does not see
 * warn                  on-limit=warn */
#include "limit.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <pthread.h>

/* How many more may be open than are now. */
static void allow(int more) {
    char text[64];
    int open_now = 0;
    for (int fd = 0; fd < 4096; fd++) open_now += fcntl(fd, F_GETFD) >= 0;
    snprintf(text, sizeof text, "descriptors=%d", open_now + more);
    check_that(set_limits(text) == 0, why(), __LINE__);
}

/* How many can be opened now. They are closed again. */
static int to_be_had(void) {
    int made[256], count = 0;
    while (count < 256 && (made[count] = open("/dev/null", O_RDONLY)) >= 0) count++;
    CHECK(count == 256 || errno == EMFILE);
    for (int i = 0; i < count; i++) close(made[i]);
    return count;
}

/* Within a short time: the library does not ask the kernel at every refusal. */
static int soon_to_be_had(int wanted) {
    int count = to_be_had();
    for (int i = 0; i < 5000 && count != wanted; i++) nap(1), count = to_be_had();
    return count;
}

static int listener(struct sockaddr_in *address) {
    socklen_t length = sizeof *address;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    *address = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    GIVES(bind(fd, (struct sockaddr *)address, length), 0);
    GIVES(listen(fd, 8), 0);
    GIVES(getsockname(fd, (struct sockaddr *)address, &length), 0);
    return fd;
}

static void none_to_be_had(int source, int server) {
    int pair[2] = {-7, -7};
    sigset_t signals;
    char path[] = "/tmp/epollshim-limit-XXXXXX";
    sigemptyset(&signals);
    FAILS(open("/dev/null", O_RDONLY), EMFILE);
    FAILS(open("/nonexistent", O_RDONLY), EMFILE); /* as at the kernel's own limit */
    FAILS(openat(AT_FDCWD, "/dev/null", O_RDONLY), EMFILE);
    FAILS(creat(path, 0600), EMFILE);
    FAILS(mkstemp(path), EMFILE);
    CHECK(access(path, F_OK) != 0);
    FAILS(socket(AF_INET, SOCK_STREAM, 0), EMFILE);
    FAILS(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), EMFILE);
    FAILS(accept(server, NULL, NULL), EMFILE);
    FAILS(accept4(server, NULL, NULL, SOCK_CLOEXEC), EMFILE);
    FAILS(pipe(pair), EMFILE);
    FAILS(pipe2(pair, O_CLOEXEC), EMFILE);
    FAILS(eventfd(0, 0), EMFILE);
    FAILS(timerfd_create(CLOCK_MONOTONIC, 0), EMFILE);
    FAILS(signalfd(-1, &signals, 0), EMFILE);
    FAILS(inotify_init(), EMFILE);
    FAILS(inotify_init1(IN_CLOEXEC), EMFILE);
    FAILS(memfd_create("x", 0), EMFILE);
    FAILS(epoll_create(1), EMFILE);
    FAILS(epoll_create1(0), EMFILE);
    FAILS(dup(source), EMFILE);
    FAILS(dup2(source, 200), EMFILE);
    FAILS(dup3(source, 200, O_CLOEXEC), EMFILE);
    FAILS(fcntl(source, F_DUPFD, 100), EMFILE);
    FAILS(fcntl(source, F_DUPFD_CLOEXEC, 100), EMFILE);
    FAILS(syscall(SYS_openat, AT_FDCWD, "/dev/null", O_RDONLY, 0), EMFILE);
    CHECK(fopen("/dev/null", "r") == NULL && errno == EMFILE);
    CHECK(tmpfile() == NULL && errno == EMFILE);
    CHECK(opendir("/") == NULL && errno == EMFILE);
    CHECK(popen("true", "r") == NULL && errno == EMFILE);
    FAILS(syscall(SYS_dup, source), EMFILE);
    FAILS(syscall(SYS_eventfd2, 0, 0), EMFILE);
    FAILS(syscall(SYS_epoll_create1, 0), EMFILE);
    EQUAL(pair[0], -7), EQUAL(pair[1], -7);
}

static void rows(void) {
    struct sockaddr_in address;
    sigset_t signals;
    sigemptyset(&signals);
    int server = listener(&address), client = socket(AF_INET, SOCK_STREAM, 0), source = eventfd(0, 0), full[2];
    int of_signals = signalfd(-1, &signals, 0);
    GIVES(connect(client, (struct sockaddr *)&address, sizeof address), 0);
    allow(1);
    /* A pair needs room for two. */
    CHECK(popen("true", "r") == NULL && errno == EMFILE);
    FAILS(pipe(full), EMFILE);
    FAILS(socketpair(AF_UNIX, SOCK_STREAM, 0, full), EMFILE);
    EQUAL(to_be_had(), 1);
    int last = WORKS(dup(source));
    none_to_be_had(source, server);
    /* A call that creates no descriptor is not refused, and a bad argument still gets its own
     * errno. */
    GIVES(dup2(source, last), last);
    GIVES(dup2(source, source), source);
    GIVES(dup3(source, last, O_CLOEXEC), last);
    GIVES(signalfd(of_signals, &signals, 0), of_signals);
    GIVES(fcntl(source, F_GETFD), 0);
    FAILS(dup(-1), EBADF);
    FAILS(dup2(-1, 201), EBADF);
    FAILS(accept(-1, NULL, NULL), EBADF);
    FAILS(openat(-1, "x", O_RDONLY), EMFILE); /* as at the kernel's own limit */
    /* A stream takes over a number, and a new file gets the old stream's. */
    FILE *stream = fdopen(last, "w");
    CHECK(stream != NULL && freopen("/dev/null", "r", stream) == stream && fileno(stream) == last);
    /* One is closed, so one may be accepted: the connection has waited. */
    GIVES(fclose(stream), 0);
    int connection = WORKS(accept(server, NULL, NULL));
    none_to_be_had(source, server);
    GIVES(close(connection), 0);
    GIVES(close_range((unsigned)of_signals, (unsigned)of_signals, 0), 0);
    EQUAL(to_be_had(), 2);
    int ends[2];
    GIVES(pipe(ends), 0);
    none_to_be_had(source, server);
    GIVES(set_limits(""), 0);
    EQUAL(to_be_had(), 256);
}

static volatile int held, over, most, failures;

static void *opens(void *rounds) {
    for (long round = 0; round < (long)(intptr_t)rounds; round++) {
        int fds[2] = {-1, -1}, count = 0;
        if (round % 3 == 0) count = pipe(fds) == 0 ? 2 : 0;
        else if (round % 3 == 1) count = (fds[0] = open("/dev/null", O_RDONLY)) >= 0;
        else count = (fds[0] = fcntl(0, F_DUPFD, 0)) >= 0;
        if (count == 0) {
            if (errno != EMFILE) failures++;
            continue;
        }
        int now = __sync_add_and_fetch(&held, count);
        if (now > most) __sync_fetch_and_add(&over, 1);
        __sync_sub_and_fetch(&held, count);
        for (int i = 0; i < count; i++) close(fds[i]);
    }
    return NULL;
}

/* Each thread has one at a time, and there is room for all of them. */
static void *never_refused(void *rounds) {
    for (long round = 0; round < (long)(intptr_t)rounds; round++) {
        int fd = round % 2 ? open("/dev/null", O_RDONLY) : eventfd(0, 0);
        if (fd < 0) __sync_fetch_and_add(&failures, 1);
        else close(fd);
    }
    return NULL;
}

static void race(int count, long rounds) {
    enum { THREADS = 12 };
    pthread_t threads[THREADS];
    most = count;
    allow(count);
    for (int i = 0; i < THREADS; i++) pthread_create(&threads[i], NULL, opens, (void *)(intptr_t)rounds);
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    EQUAL(over, 0), EQUAL(failures, 0);
    EQUAL(to_be_had(), count);
    allow(THREADS);
    for (int i = 0; i < THREADS; i++) pthread_create(&threads[i], NULL, never_refused, (void *)(intptr_t)rounds);
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    EQUAL(failures, 0);
    EQUAL(to_be_had(), THREADS);
}

static int server;

static void *accepts(void *unused) {
    (void)unused;
    /* The main thread tests how many can be opened: at times none is left. */
    while (accept(server, NULL, NULL) < 0 && errno == EMFILE) nap(1);
    return NULL;
}

static void ends(void) {
    struct sockaddr_in address;
    server = listener(&address);
    allow(4);
    EQUAL(to_be_had(), 4);
    /* Not seen by the library, before there are threads. */
    FILE *streams[3];
    for (int i = 0; i < 3; i++) streams[i] = fdopen(open("/dev/null", O_RDONLY), "r");
    EQUAL(to_be_had(), 1);
    for (int i = 0; i < 3; i++) fclose(streams[i]);
    EQUAL(soon_to_be_had(4), 4);
    /* As in the kernel: a thread that waits in accept has already reserved a number. */
    pthread_t thread;
    pthread_create(&thread, NULL, accepts, NULL);
    EQUAL(soon_to_be_had(3), 3);
    pthread_cancel(thread);
    pthread_join(thread, NULL);
    EQUAL(soon_to_be_had(4), 4);
    /* Calls that fail. */
    for (int i = 0; i < 50; i++) {
        FAILS(open("/nonexistent/x", O_RDONLY), ENOENT);
        FAILS(socket(AF_INET, 77, 0), EINVAL);
        FAILS(pipe2((int[2]){0, 0}, 0x123), EINVAL);
        FAILS(epoll_create1(77), EINVAL);
    }
    EQUAL(to_be_had(), 4);
    /* A child has what its parent has, and counts separately from then on. */
    int kept = open("/dev/null", O_RDONLY);
    pid_t child = fork();
    if (child == 0) {
        EQUAL(to_be_had(), 3);
        close(kept);
        EQUAL(to_be_had(), 4);
        _exit(verdict());
    }
    EQUAL(status_of(child), 0);
    EQUAL(to_be_had(), 3);
    close(kept);
    EQUAL(to_be_had(), 4);
}

int main(int count, char **words) {
    const char *what = count > 1 ? words[1] : "";
    if (strcmp(what, "rows") == 0) rows();
    else if (strcmp(what, "ends") == 0) ends();
    else if (strcmp(what, "race") == 0 && count > 3) race(atoi(words[2]), atol(words[3]));
    else if (strcmp(what, "warn") == 0) {
        allow(0);
        set_limits("descriptors=1,on-limit=warn");
        int fd = WORKS(open("/dev/null", O_RDONLY));
        GIVES(close(fd), 0);
    } else if (strcmp(what, "without-a-census") == 0) {
        FAILS(set_limits("descriptors=100"), ENOTSUP);
        check_that(strstr(why(), "EPOLLSHIM_CENSUS=1") != NULL, why(), __LINE__);
        EQUAL(to_be_had(), 256);
    } else return 2;
    return verdict();
}
