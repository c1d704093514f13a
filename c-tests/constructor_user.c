/* epoll before main (preinit, first constructors) and after it (atexit, on_exit, destructors). All
 * of it works, and what was created before main continues to work in main. */
#include "check.h"

static int early, first, late, event_fd;
static struct epoll_event got;

static void round_trip(const char *when) {
    int epfd = epoll_create1(EPOLL_CLOEXEC), fd = eventfd(1, 0), copy = dup(epfd);
    QUIETLY(add(epfd, fd, EPOLLIN) == 0);
    QUIETLY(add(epfd, fd, EPOLLIN) == -1 && errno == EEXIST);
    QUIETLY(close(epfd) == 0 && epoll_wait(copy, &got, 1, 0) == 1 && got.events == EPOLLIN);
    QUIETLY(dup2(copy, 80) == 80 && close_range(80, 80, 0) == 0 && fcntl(copy, F_GETFD) == 0);
    QUIETLY(syscall(SYS_close, copy) == 0 && close(fd) == 0 && close(fd) == -1 && errno == EBADF);
    say("     %s: %s\n", when, checks_failed ? "failed" : "worked");
}

static void preinit(int argc, char **argv, char **environment) {
    (void)argc, (void)argv, (void)environment;
    round_trip("preinit");
    early = epoll_create(5);
    event_fd = eventfd(1, 0);
    QUIETLY(add(early, event_fd, EPOLLIN) == 0);
}
__attribute__((section(".preinit_array"), used)) static void (*const before_all)(int, char **, char **) = preinit;

__attribute__((constructor(101))) static void first_constructor(void) {
    round_trip("constructor 101");
    first = epoll_create1(0);
    QUIETLY(add(first, early, EPOLLIN) == 0);
}
__attribute__((constructor)) static void plain_constructor(void) { round_trip("constructor"); }
__attribute__((destructor)) static void plain_destructor(void) { round_trip("destructor"); }
__attribute__((destructor(101))) static void last_destructor(void) {
    round_trip("destructor 101");
    QUIETLY(epoll_wait(late, &got, 1, 0) == 1);
    QUIETLY(close(late) == 0 && close(first) == 0 && close(early) == 0);
    if (checks_failed) _exit(1);
}
static void at_exit(void) { round_trip("atexit"); }
static void on_the_exit(int status, void *unused) {
    (void)status, (void)unused;
    round_trip("on_exit");
}

static pthread_key_t key;
/* The C library calls this up to four times for a thread that ends, after everything else of that
 * thread is gone. */
static void thread_end(void *times) {
    round_trip("end of a thread");
    if ((intptr_t)times > 1) pthread_setspecific(key, (void *)((intptr_t)times - 1));
}
static void *thread_of(void *unused) {
    pthread_setspecific(key, (void *)4);
    round_trip("thread");
    return unused;
}

int main(void) {
    GIVES(events_of(early, 0), EPOLLIN);
    GIVES(events_of(first, 0), EPOLLIN);
    LEDGER_KNOWS();
    late = WORKS(epoll_create1(0));
    GIVES(add(late, event_fd, EPOLLIN), 0);
    EQUAL(pthread_key_create(&key, thread_end), 0);
    pthread_t thread;
    for (int i = 0; i < 3; i++) {
        QUIETLY(pthread_create(&thread, NULL, thread_of, NULL) == 0);
        pthread_join(thread, NULL);
    }
    EQUAL(atexit(at_exit), 0);
    EQUAL(on_exit(on_the_exit, NULL), 0);
    LEDGER_KNOWS();
    return verdict();
}
