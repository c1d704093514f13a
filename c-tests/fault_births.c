/* Starts a child by vfork, __vfork and clone, three times each, and prints for each the child's
 * exit status or the errno. */
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern pid_t __vfork(void);

static char stack[64 * 1024];

static int child(void *status) { return *(int *)status; }

static void tell(const char *name, pid_t pid, int error) {
    int status = 0;
    if (pid > 0 && waitpid(pid, &status, 0) == pid)
        printf("%s %d\n", name, WEXITSTATUS(status));
    else
        printf("%s %s\n", name, strerrorname_np(error));
}

static __attribute__((noinline)) pid_t by_vfork(void) {
    volatile int kept = 7;
    pid_t pid = vfork();
    if (pid == 0) _exit(kept);
    return pid;
}

int main(void) {
    for (int round = 0; round < 3; round++) {
        pid_t pid = by_vfork();
        tell("vfork", pid, errno);
        pid = __vfork();
        if (pid == 0) _exit(8);
        tell("__vfork", pid, errno);
        int status = 9;
        pid = clone(child, stack + sizeof stack, CLONE_VM | CLONE_VFORK | SIGCHLD, &status);
        tell("clone", pid, errno);
    }
    return 0;
}
