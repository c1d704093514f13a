/* A signal handler makes thousands of calls of its own before the interrupted call continues. The
 * processor's trap flag makes it run once in each call, at each of the call's instructions in turn:
 * also while the call holds the library's lock. Then each call of the handler is a change of the
 * ledger that must wait.
 *
 * usage: long_handlers EVERY CLOSES
 *     at every EVERYth instruction, and CLOSES calls of close in each handler */
#include "../check.h"

#if defined(__x86_64__)
#include <ucontext.h>

#define TRAP_FLAG 0x100
#define NEVER_OPEN 900

static int epfd, fd, own_fd, made, closes, is_added;
static volatile int left, failed;
static struct epoll_event event;

static void on_trap(int number, siginfo_t *info, void *context) {
    struct epoll_event own_event = interest(EPOLLIN, 2);
    int kept = errno;
    (void)number, (void)info;
    if (--left > 0) return;
    ((ucontext_t *)context)->uc_mcontext.gregs[REG_EFL] &= ~TRAP_FLAG;
    /* What one handler has added, the next one deletes. */
    is_added = !is_added;
    if (epoll_ctl(epfd, is_added ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, own_fd, &own_event) != 0) failed = 1;
    /* Once a change waits, the library examines the close of every number. */
    for (int i = 0; i < closes; i++) {
        if (close(NEVER_OPEN) != -1) failed = 1;
    }
    errno = kept;
}

/* Steps through a call until the handler has run. */
__attribute__((noinline)) static void stepped(void (*call)(void)) {
    __asm__ volatile("pushfq; orq $0x100, (%%rsp); popfq" ::: "memory", "cc");
    call();
    __asm__ volatile("pushfq; andq $~0x100, (%%rsp); popfq" ::: "memory", "cc");
}

static void add_it(void) { failed |= epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &event) != 0; }
static void delete_it(void) { failed |= epoll_ctl(epfd, EPOLL_CTL_DEL, fd, NULL) != 0; }
static void create(void) { failed |= (made = epoll_create1(EPOLL_CLOEXEC)) < 0; }
static void add_to_it(void) { failed |= epoll_ctl(made, EPOLL_CTL_ADD, fd, &event) != 0; }
static void close_it(void) { failed |= close(made) != 0; }

static const struct {
    const char *name;
    void (*call)(void);
} calls[] = {{"ADD", add_it}, {"DEL", delete_it}, {"epoll_create1", create}, {"ADD to it", add_to_it}, {"close", close_it}};
#define CALLS (sizeof calls / sizeof *calls)

/* Makes all calls; in one of them the handler runs at this instruction. False: the call has fewer
 * instructions. */
static int comes_at(size_t which, int instruction) {
    for (size_t i = 0; i < CALLS; i++) {
        if (i != which) {
            calls[i].call();
            continue;
        }
        left = instruction;
        stepped(calls[i].call);
    }
    return left <= 0;
}

int main(int count, char **arguments) {
    struct sigaction action = {.sa_sigaction = on_trap, .sa_flags = SA_SIGINFO};
    int every = count > 1 ? atoi(arguments[1]) : 1;
    closes = count > 2 ? atoi(arguments[2]) : 1;
    event = interest(EPOLLIN, 1);
    epfd = WORKS(epoll_create1(0));
    fd = WORKS(eventfd(1, 0));
    own_fd = WORKS(eventfd(1, 0));
    /* The loader binds names. */
    for (size_t i = 0; i < CALLS; i++) calls[i].call();
    sigaction(SIGTRAP, &action, NULL);
    for (size_t i = 0; i < CALLS; i++) {
        int instruction = 1;
        say("     %s\n", calls[i].name);
        while (comes_at(i, instruction)) instruction += every;
        CHECK(instruction > 10);
        CHECK(!failed);
        CHECK(kernel_truth().watches == is_added);
        /* The number of handlers depends on how many instructions the calls have, so start the next
         * call in the same state. */
        if (is_added) failed |= epoll_ctl(epfd, EPOLL_CTL_DEL, own_fd, NULL) != 0;
        is_added = 0;
        CHECK(!failed);
        LEDGER_KNOWS();
    }
    return verdict();
}
#else
int main(void) { return verdict(); }
#endif
