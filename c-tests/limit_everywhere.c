/* Limits hold before main, after exit has begun, and in handlers on an alternate stack of the
 * smallest size, which may have interrupted anything.
 * instances=4,user-instances=4,watches=3,user-watches=3. */
#include "limit.h"

#include <sys/auxv.h>
#include <sys/time.h>

static int before_main[4];

__attribute__((constructor)) static void early(void) {
    for (int i = 0; i < 4; i++) before_main[i] = WORKS(epoll_create1(0));
    FAILS(epoll_create1(0), EMFILE);
    FAILS(epoll_create(1), EMFILE);
    for (int i = 2; i < 4; i++) close(before_main[i]);
}

static void late(void) {
    EQUAL(instances_to_be_had(), 4);
    int epfd = epoll_create1(0);
    EQUAL(watches_to_be_had(epfd), 3);
    if (checks_failed) _exit(1);
}

static volatile sig_atomic_t handled, refused, wrong;
static int common, event_fds[4];

/* Creates as many as possible, and closes them again. */
static void on_signal(int number) {
    int kept = errno, made[8], count = 0, watches = 0;
    (void)number;
    while (count < 8 && (made[count] = epoll_create1(0)) >= 0) count++;
    if (count == 8 || errno != EMFILE) wrong = 1;
    refused++;
    struct epoll_event event = interest(EPOLLIN, 1);
    int epfd = count > 0 ? made[0] : common;
    while (watches < 4 && epoll_ctl(epfd, EPOLL_CTL_ADD, event_fds[watches], &event) == 0) watches++;
    if (watches == 4 || (errno != ENOSPC && errno != EEXIST)) wrong = 1;
    for (int i = 0; i < watches; i++) epoll_ctl(epfd, EPOLL_CTL_DEL, event_fds[i], NULL);
    for (int i = 0; i < count; i++) close(made[i]);
    handled++;
    errno = kept;
}

int main(void) {
    atexit(late);
    CHECK(before_main[1] > before_main[0]);
    EQUAL(instances_to_be_had(), 2);
    close(before_main[0]);
    common = before_main[1];
    for (int i = 0; i < 4; i++) event_fds[i] = eventfd(0, 0);

    /* The kernel's frame for the registers, and 2 KiB for the handler. Nothing may touch what lies
     * below. */
    size_t frame = getauxval(AT_MINSIGSTKSZ), size = ((frame ? frame : 2048) + 2048 + 4095) & ~(size_t)4095;
    char *start = mmap(NULL, size + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    mprotect(start, 4096, PROT_NONE);
    size_t small = (frame ? frame : 2048) + 2048;
    stack_t stack = {.ss_sp = start + 4096 + size - small, .ss_size = small};
    GIVES(sigaltstack(&stack, NULL), 0);
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_ONSTACK | SA_RESTART};
    sigaction(SIGALRM, &action, NULL);
    struct itimerval soon = {{0, 400}, {0, 400}}, never = {{0, 0}, {0, 0}};
    /* The first claim of a forked child, in a handler: the child has no slot in the session yet. */
    for (int i = 0; i < 5; i++) {
        pid_t child = fork();
        if (child == 0) {
            raise(SIGALRM);
            _exit(wrong ? 1 : 6);
        }
        QUIETLY(status_of(child) == 6);
    }
    setitimer(ITIMER_REAL, &soon, NULL);
    int64_t end = now_ns() + 10000000000;
    while (handled < 1000 && now_ns() < end) {
        int epfd = epoll_create1(0), copy = dup(epfd);
        if (epfd >= 0) add(epfd, event_fds[0], EPOLLIN);
        close(epfd);
        close(copy);
    }
    setitimer(ITIMER_REAL, &never, NULL);
    signal(SIGALRM, SIG_DFL);
    alarm(60);
    CHECK(handled > 100);
    CHECK(refused > 0);
    CHECK(!wrong);
    close(common);
    return verdict();
}
