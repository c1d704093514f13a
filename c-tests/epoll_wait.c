/* epoll_wait, epoll_pwait and epoll_pwait2: every kind of event, timeouts, masks, and each
 * errno. */
#include "check.h"

#include <netinet/in.h>

static volatile int negative = -1, huge = INT32_MAX; /* hidden from the compiler, which would warn */
static volatile sig_atomic_t handled;
static void on_signal(int number) {
    (void)number;
    handled++;
}

static volatile int returned;

static void *interrupt(void *target) {
    while (!returned) {
        nap(10);
        if (!returned) pthread_kill(*(pthread_t *)target, SIGUSR1);
    }
    return NULL;
}

static void *wake(void *fd) {
    nap(20);
    eventfd_write(*(int *)fd, 1);
    return NULL;
}

/* Runs `call`, a wait without a timeout, while another thread sends SIGUSR1 until it returns: the
 * first signals may arrive before the wait has begun. */
#define INTERRUPTED(call)                                         \
    do {                                                          \
        pthread_t self = pthread_self(), thread;                  \
        handled = returned = 0;                                   \
        pthread_create(&thread, NULL, interrupt, &self);          \
        FAILS(call, EINTR);                                       \
        returned = 1;                                             \
        pthread_join(thread, NULL);                               \
        CHECK(handled > 0);                                       \
    } while (0)

static void kinds_of_events(void) {
    int epfd = epoll_create1(0), pair[2], ends[2];
    EQUAL(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    GIVES(add(epfd, pair[0], EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLPRI), 0);
    EQUAL(events_of(epfd, 0), EPOLLOUT);
    EQUAL(write(pair[1], "x", 1), 1);
    EQUAL(events_of(epfd, 0), EPOLLIN | EPOLLOUT);
    EQUAL(shutdown(pair[1], SHUT_WR), 0);
    EQUAL(events_of(epfd, 0), EPOLLIN | EPOLLOUT | EPOLLRDHUP);
    GIVES(close(pair[1]), 0);
    EQUAL(events_of(epfd, 0), EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLHUP);
    GIVES(close(pair[0]), 0);
    EQUAL(events_of(epfd, 0), 0);

    EQUAL(pipe(ends), 0);
    GIVES(add(epfd, ends[0], EPOLLIN), 0);
    GIVES(close(ends[1]), 0);
    EQUAL(events_of(epfd, 0), EPOLLHUP);
    GIVES(close(ends[0]), 0);
    EQUAL(pipe(ends), 0);
    GIVES(add(epfd, ends[1], EPOLLOUT), 0);
    GIVES(close(ends[0]), 0);
    EQUAL(events_of(epfd, 0), EPOLLOUT | EPOLLERR);
    GIVES(close(ends[1]), 0);

    struct sockaddr_in here = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof here;
    int server = socket(AF_INET, SOCK_STREAM, 0), client = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(bind(server, (struct sockaddr *)&here, size) == 0 && listen(server, 1) == 0);
    CHECK(getsockname(server, (struct sockaddr *)&here, &size) == 0);
    CHECK(connect(client, (struct sockaddr *)&here, size) == 0);
    int peer = accept(server, NULL, NULL);
    GIVES(add(epfd, peer, EPOLLPRI), 0);
    EQUAL(send(client, "!", 1, MSG_OOB), 1);
    EQUAL(events_of(epfd, 1000), EPOLLPRI);
    struct linger reset = {1, 0};
    EQUAL(setsockopt(client, SOL_SOCKET, SO_LINGER, &reset, sizeof reset), 0);
    GIVES(close(client), 0);
    nap(20);
    CHECK((events_of(epfd, 1000) & (EPOLLERR | EPOLLHUP)) == (EPOLLERR | EPOLLHUP));
    GIVES(close(peer), 0);
    GIVES(close(server), 0);
    GIVES(close(epfd), 0);
}

static void batches_and_triggers(void) {
    int epfd = epoll_create1(0), fds[8];
    struct epoll_event got[8];
    for (int i = 0; i < 8; i++) {
        struct epoll_event event = interest(EPOLLIN | (i % 2 ? EPOLLET : 0), 0xfedcba9800000000u + (unsigned)i);
        fds[i] = eventfd(1, EFD_NONBLOCK);
        QUIETLY(epoll_ctl(epfd, EPOLL_CTL_ADD, fds[i], &event) == 0);
    }
    GIVES(epoll_wait(epfd, got, 8, 0), 8);
    for (int i = 0; i < 8; i++) EQUAL(got[i].data.u64 - 0xfedcba9800000000u, i);
    GIVES(epoll_wait(epfd, got, 8, 0), 4);
    GIVES(epoll_wait(epfd, got, 3, 0), 3);
    GIVES(epoll_wait(epfd, got, 3, 0), 3);
    for (int i = 0; i < 3; i++) say("     turn %d\n", (int)got[i].data.u32);
    struct epoll_event once = interest(EPOLLIN | EPOLLONESHOT, 7);
    for (int i = 0; i < 8; i++) QUIETLY(epoll_ctl(epfd, EPOLL_CTL_MOD, fds[i], &once) == 0);
    GIVES(epoll_wait(epfd, got, 8, 0), 8);
    GIVES(epoll_wait(epfd, got, 8, 0), 0);
    QUIETLY(epoll_ctl(epfd, EPOLL_CTL_MOD, fds[3], &once) == 0);
    GIVES(epoll_wait(epfd, got, 8, 0), 1);
    for (int i = 0; i < 8; i++) QUIETLY(close(fds[i]) == 0);
    GIVES(close(epfd), 0);
}

int main(void) {
    int epfd = epoll_create1(0), fd = eventfd(0, 0);
    struct epoll_event got[4];
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigset_t none, usr1;
    sigemptyset(&none);
    sigemptyset(&usr1);
    sigaddset(&usr1, SIGUSR1);
    sigaction(SIGUSR1, &action, NULL);
    kinds_of_events();
    batches_and_triggers();
    GIVES(add(epfd, fd, EPOLLIN), 0);

    struct timespec zero = {0, 0}, soon = {0, 20000000}, odd = {0, 1000000000}, past = {-1, 0};
    int64_t start = now_ns();
    GIVES(epoll_wait(epfd, got, 4, 0), 0);
    GIVES(epoll_wait(epfd, got, 4, 20), 0);
    GIVES(epoll_pwait(epfd, got, 4, 20, NULL), 0);
    GIVES(epoll_pwait(epfd, got, 4, 0, &usr1), 0);
    GIVES(epoll_pwait2(epfd, got, 4, &soon, NULL), 0);
    GIVES(epoll_pwait2(epfd, got, 4, &zero, &usr1), 0);
    CHECK(now_ns() - start >= 60000000);

    FAILS(epoll_wait(epfd, got, 0, 0), EINVAL);
    FAILS(epoll_wait(epfd, got, negative, 0), EINVAL);
    FAILS(epoll_wait(epfd, got, huge, 0), EINVAL);
    FAILS(epoll_wait(fd, got, 4, 0), EINVAL);
    FAILS(epoll_wait(-1, got, 4, 0), EBADF);
    FAILS(epoll_wait(9999, got, 4, 0), EBADF);
    FAILS(epoll_pwait(epfd, got, 0, 0, NULL), EINVAL);
    FAILS(epoll_pwait(9999, got, 4, 0, &usr1), EBADF);
    FAILS(epoll_pwait(epfd, got, 4, 0, nowhere()), EFAULT);
    FAILS(epoll_pwait2(epfd, got, 0, &zero, NULL), EINVAL);
    FAILS(epoll_pwait2(fd, got, 4, &zero, NULL), EINVAL);
    FAILS(epoll_pwait2(9999, got, 4, &zero, &usr1), EBADF);
    FAILS(epoll_pwait2(epfd, got, 4, &odd, NULL), EINVAL);
    FAILS(epoll_pwait2(epfd, got, 4, &past, NULL), EINVAL);
    FAILS(epoll_pwait2(epfd, got, 4, nowhere(), NULL), EFAULT);
    FAILS(epoll_pwait2(epfd, got, 4, &zero, nowhere()), EFAULT);
    /* The kernel chooses which of two errors it returns. The choice must only be the same under the
     * library. */
    errno = SENTINEL;
    int result = epoll_wait(9999, got, negative, 0);
    say("     epoll_wait(bad, -1) = %d, errno %d\n", result, errno);

    INTERRUPTED(epoll_wait(epfd, got, 4, -1));
    INTERRUPTED(epoll_pwait(epfd, got, 4, -1, NULL));
    INTERRUPTED(epoll_pwait(epfd, got, 4, -1, &none));
    INTERRUPTED(epoll_pwait2(epfd, got, 4, NULL, NULL));
    INTERRUPTED(epoll_pwait2(epfd, got, 4, NULL, &none));

    /* Only the mask of the wait lets in a blocked and pending signal. */
    sigset_t during;
    EQUAL(sigprocmask(SIG_BLOCK, &usr1, NULL), 0);
    handled = 0;
    raise(SIGUSR1);
    GIVES(epoll_wait(epfd, got, 4, 0), 0);
    GIVES(epoll_pwait(epfd, got, 4, 0, &usr1), 0);
    EQUAL(handled, 0);
    FAILS(epoll_pwait(epfd, got, 4, -1, &none), EINTR);
    EQUAL(handled, 1);
    raise(SIGUSR1);
    FAILS(epoll_pwait2(epfd, got, 4, NULL, &none), EINTR);
    EQUAL(handled, 2);
    sigprocmask(SIG_BLOCK, NULL, &during);
    EQUAL(sigismember(&during, SIGUSR1), 1);
    sigprocmask(SIG_UNBLOCK, &usr1, NULL);

    pthread_t thread;
    pthread_create(&thread, NULL, wake, &fd);
    GIVES(epoll_wait(epfd, got, 4, -1), 1);
    pthread_join(thread, NULL);
    EQUAL(got[0].events, EPOLLIN);
    FAILS(epoll_wait(epfd, nowhere(), 1, 0), EFAULT);
    FAILS(epoll_pwait(epfd, nowhere(), 1, 0, NULL), EFAULT);
    FAILS(epoll_pwait2(epfd, nowhere(), 1, &zero, NULL), EFAULT);
    GIVES(epoll_pwait(epfd, got, 4, -1, &usr1), 1);
    GIVES(epoll_pwait2(epfd, got, 4, NULL, &usr1), 1);
    LEDGER_KNOWS();
    return verdict();
}
