/* Counts allocations while every hook runs. This program's malloc family comes before glibc's, and
 * the program itself allocates nothing between the two points. Prints the count, and which hook
 * allocated first. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);
extern void __libc_free(void *);

static volatile int armed, allocations; /* volatile: the compiler knows that malloc touches nothing */
static void *first_caller;
static const char *first_function;

static void count(const char *function, void *caller)
{
    if (!__atomic_load_n(&armed, __ATOMIC_ACQUIRE))
        return;
    if (__atomic_fetch_add(&allocations, 1, __ATOMIC_RELAXED))
        return;
    first_caller = caller;
    first_function = function;
}

#define COUNT() count(__func__, __builtin_return_address(0))

void *malloc(size_t size)
{
    COUNT();
    return __libc_malloc(size);
}

void *calloc(size_t number, size_t size)
{
    COUNT();
    return __libc_calloc(number, size);
}

void *realloc(void *old, size_t size)
{
    COUNT();
    return __libc_realloc(old, size);
}

void *memalign(size_t alignment, size_t size)
{
    COUNT();
    return __libc_memalign(alignment, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
    COUNT();
    return __libc_memalign(alignment, size);
}

int posix_memalign(void **result, size_t alignment, size_t size)
{
    COUNT();
    *result = __libc_memalign(alignment, size);
    return *result ? 0 : ENOMEM;
}

void free(void *block)
{
    if (block)
        COUNT();
    __libc_free(block);
}

#define EXPECT(condition)                                                                                            \
    do {                                                                                                             \
        if (!(condition)) {                                                                                          \
            fprintf(stderr, "line %d: expected %s: %s\n", __LINE__, #condition, strerror(errno));                    \
            _exit(1);                                                                                                \
        }                                                                                                            \
    } while (0)

enum { MANY = 200 };

static void every_hook(void)
{
    static const struct timespec zero;
    struct epoll_event events[8], interest = {.events = EPOLLIN};
    int epfd = epoll_create1(EPOLL_CLOEXEC), promised = epoll_create(7);
    int fd = eventfd(1, 0), other = eventfd(0, 0), top = 700;
    EXPECT(epfd >= 0 && promised >= 0 && fd >= 0 && other >= 0);
    EXPECT(epoll_create(0) == -1 && epoll_create1(-1) == -1);

    EXPECT(epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &interest) == 0);
    EXPECT(epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &interest) == -1);
    EXPECT(epoll_ctl(epfd, EPOLL_CTL_MOD, other, &interest) == -1);
    EXPECT(epoll_ctl(epfd, EPOLL_CTL_DEL, other, NULL) == -1);
    EXPECT(epoll_ctl(epfd, EPOLL_CTL_MOD, fd, &interest) == 0);
    EXPECT(epoll_ctl(epfd, 77, fd, &interest) == -1);
    EXPECT(epoll_ctl(-1, EPOLL_CTL_ADD, fd, &interest) == -1);

    EXPECT(epoll_wait(epfd, events, 8, 0) == 1 && epoll_wait(epfd, events, 1, 1000) == 1);
    EXPECT(epoll_wait(promised, events, 8, 1) == 0 && epoll_wait(promised, events, 0, 0) == -1);
    EXPECT(epoll_pwait(epfd, events, 8, 0, NULL) == 1 && epoll_pwait2(epfd, events, 8, &zero, NULL) == 1);

    EXPECT(dup2(epfd, top) == top && dup3(fd, top + 1, O_CLOEXEC) == top + 1 && dup2(other, top) == top);
    EXPECT(close(dup(epfd)) == 0 && close(dup(fd)) == 0 && close(dup(other)) == 0);
    EXPECT(fcntl(epfd, F_DUPFD, top + 2) == top + 2 && fcntl(fd, F_DUPFD_CLOEXEC, top + 3) == top + 3);
    EXPECT(fcntl(epfd, F_SETFD, FD_CLOEXEC) == 0 && fcntl(epfd, F_GETFD) == FD_CLOEXEC);
    EXPECT(dup(-1) == -1 && dup2(-1, 3) == -1 && close(-1) == -1 && fcntl(-1, F_GETFD) == -1);

    int raw = (int)syscall(SYS_epoll_create1, 0);
    EXPECT(raw >= 0 && syscall(SYS_epoll_ctl, raw, EPOLL_CTL_ADD, fd, &interest) == 0);
    EXPECT(syscall(SYS_epoll_pwait, raw, events, 8, 0, NULL, 8L) == 1);
    EXPECT(syscall(SYS_close, raw) == 0 && syscall(SYS_getppid) >= 0);

    /* Enough of them to make the ledger grow. */
    static __thread int many[MANY];
    for (int i = 0; i < MANY; i++) {
        many[i] = i % 4 ? eventfd(0, 0) : epoll_create1(0);
        EXPECT(many[i] >= 0 && epoll_ctl(epfd, EPOLL_CTL_ADD, many[i], &interest) == 0);
        EXPECT(epoll_ctl(promised, EPOLL_CTL_ADD, many[i], &interest) == 0);
    }
    for (int i = 0; i < MANY; i++)
        EXPECT(close(many[i]) == 0);

    EXPECT(epoll_ctl(epfd, EPOLL_CTL_DEL, fd, NULL) == 0);
    EXPECT(close(promised) == 0 && close(epfd) == 0 && close(fd) == 0 && close(other) == 0);
    EXPECT(close_range((unsigned)top, (unsigned)top + 1, 0) == 0);
    closefrom(top + 2);
}

static void *thread(void *nothing)
{
    while (!__atomic_load_n(&armed, __ATOMIC_ACQUIRE))
        sched_yield();
    every_hook(); /* the thread's first calls */
    __atomic_store_n(&armed, 0, __ATOMIC_RELEASE);
    return nothing;
}

int main(void)
{
    pthread_t other;
    EXPECT(pthread_create(&other, NULL, thread, NULL) == 0);
    armed = 1;
    pthread_join(other, NULL); /* its turn; it ends by itself, disarmed */
    armed = 1;
    every_hook();
    every_hook();
    armed = 0;

    int found = allocations;
    armed = 1;
    void *volatile block = malloc(1);
    free(block);
    armed = 0;
    if (allocations - found != 2) {
        puts("the counter does not count");
        return 1;
    }
    printf("allocations %d\n", found);
    Dl_info who;
    if (found && dladdr(first_caller, &who))
        printf("first: %s from %s (%s)\n", first_function, who.dli_fname, who.dli_sname ? who.dli_sname : "?");
    return found != 0;
}
