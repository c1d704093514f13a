/* A thread that the program starts by clone(2), with thread-local storage that the program has
 * created itself, full of zeros. libc's calls work there. So must the library's, whose words are
 * zero there as in any new thread. */
#include "check.h"

#include <sched.h>

enum { STORAGE = 1 << 16 };

static int epfd, fd;
static volatile int results[6];

__attribute__((optimize("no-stack-protector"))) static int uses_epoll(void *unused) {
    (void)unused;
    struct epoll_event event = {.events = EPOLLIN};
    results[0] = epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &event);
    results[1] = epoll_ctl(epfd, EPOLL_CTL_MOD, fd, &event);
    results[2] = epoll_wait(epfd, &event, 1, 0);
    results[3] = epoll_wait(epfd, &event, 1, 1);
    results[4] = epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &event);
    results[5] = epoll_ctl(epfd, EPOLL_CTL_DEL, fd, NULL);
    return 0;
}

int main(void) {
    char *stack = mmap(NULL, STORAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    char *storage = mmap(NULL, 2 * STORAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char **block = (char **)(storage + STORAGE);
    block[0] = block[2] = (char *)block; /* its own address, where the ABI and glibc expect it */
    epfd = epoll_create1(EPOLL_CLOEXEC);
    fd = eventfd(1, EFD_CLOEXEC);
    pid_t pid = clone(uses_epoll, stack + STORAGE, CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SETTLS | SIGCHLD, NULL, NULL, block);
    int status = -1;
    CHECK(waitpid(pid, &status, 0) == pid);
    EQUAL(status, 0);
    EQUAL(results[0], 0);
    EQUAL(results[1], 0);
    EQUAL(results[2], 1);
    EQUAL(results[3], 1);
    EQUAL(results[4], -1);
    EQUAL(results[5], 0);
    LEDGER_AGREES();
    return checks_failed;
}
