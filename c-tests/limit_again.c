/* limit_again instances|user-instances|watches|user-watches N: operations by which a charge could
 * be lost or released twice. After each of them, exactly N can be created again. */
#include "limit.h"
#include <spawn.h>
#include <sys/time.h>

static int limit, watching;
static int common; /* the instance to which watches are added */

#define AGAIN(what)                                                                       \
    do {                                                                                  \
        int had_ = watching ? watches_to_be_had(common) : instances_to_be_had();          \
        check_equal(had_, limit, "after " what ", to be had again", __LINE__);            \
    } while (0)

/* How many can be created after the library has compared again. It does that for only a part of its
 * time, and a comparison that was interrupted for long delays the next. */
static int to_be_had_soon(int wanted) {
    int had = -1;
    for (int look = 0; look < 250 && had != wanted; look++) {
        nap(20);
        had = watching ? watches_to_be_had(common) : instances_to_be_had();
    }
    return had;
}

static int watched_fd(void) {
    int fd = eventfd(0, 0);
    QUIETLY(add(common, fd, EPOLLIN) == 0);
    return fd;
}

/* Creates one of what is limited: an instance, or a watched descriptor. */
static int one(void) { return watching ? watched_fd() : epoll_create1(0); }

static void closes(void) {
    int fds[256], spare = eventfd(0, 0);
    for (int i = 0; i < limit; i++) fds[i] = one();
    for (int i = 0; i < limit; i++) QUIETLY(dup2(spare, fds[i]) == fds[i]);
    AGAIN("dup2 over all");
    for (int i = 0; i < limit; i++) close(fds[i]);
    for (int i = 0; i < limit; i++) fds[i] = one();
    for (int i = 0; i < limit; i++) QUIETLY(syscall(SYS_dup3, spare, fds[i], O_CLOEXEC) == fds[i]);
    AGAIN("SYS_dup3 over all");
    for (int i = 0; i < limit; i++) close(fds[i]);
    int first = dup(0);
    close(first);
    for (int i = 0; i < limit; i++) fds[i] = one();
    QUIETLY(close_range((unsigned)first, ~0u, CLOSE_RANGE_UNSHARE) == 0);
    AGAIN("close_range");
    for (int i = 0; i < limit; i++) fds[i] = one();
    QUIETLY(close_range((unsigned)first, ~0u, 4 /* CLOEXEC */) == 0);
    QUIETLY((watching ? watches_to_be_had(common) : instances_to_be_had()) == 0);
    closefrom(first);
    AGAIN("closefrom");
    for (int i = 0; i < limit; i++) fds[i] = one();
    for (int i = 0; i < limit; i++) {
        int copy = fcntl(fds[i], F_DUPFD, 600), another = dup(copy);
        close(fds[i]);
        close(another);
        fds[i] = copy;
    }
    if (!watching) EQUAL(instances_to_be_had(), 0);
    else EQUAL(watches_to_be_had(common), 0);
    for (int i = 0; i < limit; i++) close(fds[i]);
    AGAIN("closing the last copies");
    for (int i = 0; i < 3 * limit; i++) close(9000 + i), close(-1), close(first);
    AGAIN("closing what is not open");
    close(spare);
}

/* Closed by libc's own system call, which no hook sees. */
static void unseen(void) {
    for (int round = 0; round < 3; round++) {
        int fd[256];
        for (int i = 0; i < limit; i++) {
            fd[i] = one();
            FILE *stream = fdopen(fd[i], "r+");
            if (stream == NULL) stream = fdopen(fd[i], "r");
            QUIETLY(stream != NULL);
            if (stream != NULL) fclose(stream);
        }
        check_equal(to_be_had_soon(limit), limit, "after fclose of all, to be had again", __LINE__);
    }
}

static void failures(void) {
    struct epoll_event event = interest(EPOLLIN, 1);
    char path[] = "/tmp/epollshim-limit-XXXXXX";
    int file = mkstemp(path), epfd = watching ? common : epoll_create1(0), fd = eventfd(0, 0);
    unlink(path);
    QUIETLY(epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &event) == 0);
    for (int i = 0; i < 5 * limit; i++) {
        QUIETLY(epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &event) == -1 && errno == EEXIST);
        QUIETLY(epoll_ctl(epfd, EPOLL_CTL_ADD, file, &event) == -1 && errno == EPERM);
        QUIETLY(epoll_ctl(epfd, EPOLL_CTL_ADD, 9999, &event) == -1 && errno == EBADF);
        QUIETLY(epoll_ctl(9999, EPOLL_CTL_ADD, fd, &event) == -1 && errno == EBADF);
        QUIETLY(epoll_ctl(epfd, EPOLL_CTL_ADD, epfd, &event) == -1 && errno == EINVAL);
        QUIETLY(epoll_ctl(epfd, EPOLL_CTL_ADD, file, nowhere()) == -1 && errno == EFAULT);
        QUIETLY(epoll_ctl(epfd, EPOLL_CTL_DEL, file, &event) == -1);
        QUIETLY(epoll_create(0) == -1 && epoll_create1(5) == -1);
    }
    close(fd), close(file);
    if (!watching) close(epfd);
    AGAIN("calls that the kernel refused");
}

static void *a_thread(void *unused) {
    (void)unused;
    for (int i = 0; i < 5; i++) {
        int fd = one();
        if (fd >= 0) close(fd);
    }
    return NULL;
}

static void *that_leaves_one(void *fd) {
    *(int *)fd = one();
    return NULL;
}

static void threads(void) {
    pthread_t thread;
    for (int i = 0; i < 50; i++) {
        pthread_create(&thread, NULL, a_thread, NULL);
        pthread_join(thread, NULL);
    }
    AGAIN("threads that came and went");
    int fd;
    pthread_create(&thread, NULL, that_leaves_one, &fd);
    pthread_join(thread, NULL);
    close(fd);
    AGAIN("closing what an ended thread had made");
}

/* Cancelled in close: glibc tests before it asks the kernel, so the descriptor stays open. */
static void *cancelled(void *fd) {
    int *of = fd;
    *of = one();
    pthread_cancel(pthread_self());
    close(*of);
    return NULL;
}

static void cancellations(void) {
    for (int i = 0; i < 3; i++) {
        pthread_t thread;
        void *result;
        int fd = -1;
        pthread_create(&thread, NULL, cancelled, &fd);
        pthread_join(thread, &result);
        if (i == 0) CHECK(result == PTHREAD_CANCELED);
        int open = fcntl(fd, F_GETFD) != -1;
        check_equal(to_be_had_soon(limit - open), limit - open, "after a cancelled close, to be had", __LINE__);
        close(fd);
        check_equal(to_be_had_soon(limit), limit, "after closing it again, to be had", __LINE__);
    }
}

__attribute__((noinline)) static int vforked(void) {
    pid_t child = vfork();
    if (child != 0) return status_of(child);
    closefrom(3);
    int made = 0;
    while (made < 5 && epoll_create1(0) >= 0) made++;
    _exit(7);
}

static void children(void) {
    int fds[256];
    for (int i = 0; i < limit; i++) fds[i] = one();
    for (int i = 0; i < 3; i++) EQUAL(vforked(), 7);
    /* A child's closes in its own table release nothing here. */
    EQUAL(watching ? watches_to_be_had(common) : instances_to_be_had(), 0);
    for (int i = 0; i < limit; i++) close(fds[i]);
    AGAIN("vfork children that closed everything");
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < limit; i++) fds[i] = one();
        pid_t child = fork();
        if (child == 0) {
            checks_failed = 0;
            closefrom(3);
            for (int i = 0; i < 5; i++) close(epoll_create1(0));
            _exit(checks_failed ? 1 : 9);
        }
        EQUAL(status_of(child), 9);
        for (int i = 0; i < limit; i++) close(fds[i]);
        AGAIN("children that closed everything");
    }
    pid_t child;
    char *words[] = {"true", NULL}, *none[] = {NULL};
    for (int i = 0; i < limit; i++) fds[i] = one();
    QUIETLY(posix_spawnp(&child, "true", NULL, NULL, words, none) == 0);
    EQUAL(status_of(child), 0);
    QUIETLY(system("true") == 0);
    for (int i = 0; i < limit; i++) close(fds[i]);
    AGAIN("posix_spawn and system");
}

static volatile sig_atomic_t handled;

static void on_alarm(int number) {
    int kept = errno;
    (void)number;
    int epfd = epoll_create1(0), fd = eventfd(0, 0);
    if (epfd >= 0) add(epfd, fd, EPOLLIN);
    else if (watching) add(common, fd, EPOLLIN);
    close(fd);
    close(epfd);
    handled++;
    errno = kept;
}

static void storm(void) {
    struct sigaction action = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};
    struct itimerval soon = {{0, 300}, {0, 300}}, never = {{0, 0}, {0, 0}};
    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &soon, NULL);
    int64_t end = now_ns() + 10000000000;
    while (handled < 1000 && now_ns() < end) {
        int fd = one(), copy = dup(fd);
        if (fd >= 0) close(fd);
        if (copy >= 0) close(copy);
    }
    setitimer(ITIMER_REAL, &never, NULL);
    signal(SIGALRM, SIG_DFL);
    alarm(60);
    CHECK(handled > 100);
    AGAIN("a storm of handlers that use epoll");
}

int main(int count, char **arguments) {
    if (count < 3) return 2;
    watching = strstr(arguments[1], "watches") != NULL;
    limit = atoi(arguments[2]);
    setrlimit(RLIMIT_NOFILE, &(struct rlimit){1024, 1024});
    if (watching) common = epoll_create1(0);
    AGAIN("the beginning");
    closes();
    failures();
    threads();
    cancellations();
    children();
    storm();
    unseen();
    return verdict();
}
