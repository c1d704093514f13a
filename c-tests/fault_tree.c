/* Calls in a tree of processes, and how many of them fail by a fault. dup(-1) always fails: with
 * EBADF, or with the fault's errno. */
#include "fault_rows.h"

#define CALLS 200

static int faulted(int calls) {
    int count = 0;
    for (int i = 0; i < calls; i++) count += dup(-1) == -1 && errno != EBADF;
    return count;
}

static int ended(pid_t child) {
    int status = -1;
    while (waitpid(child, &status, 0) == -1 && errno == EINTR) {}
    return WIFEXITED(status) ? WEXITSTATUS(status) : 255;
}

/* Eight children at the same time: half of them execute this program again, one has a child of its
 * own, and one has no descriptor left. */
static int tree(const char *self) {
    pid_t children[8];
    int count = 0;
    for (int i = 0; i < 8; i++) {
        children[i] = fork();
        if (children[i] == 0) {
            if (i % 2) {
                execl(self, self, "work", (char *)NULL);
                _exit(255);
            }
            if (i == 2) setrlimit(RLIMIT_NOFILE, &(struct rlimit){0, 0});
            if (i == 4) {
                pid_t child = fork();
                _exit(child == 0 ? faulted(CALLS) : ended(child));
            }
            _exit(faulted(CALLS));
        }
    }
    for (int i = 0; i < 8; i++) count += ended(children[i]);
    say("%d\n", count);
    return 0;
}

static void handler(int number) {
    (void)number;
    if (epollshim_inject("dup:error=EIO:scope=tree:max=1") != 0) say("%s\n", epollshim_error());
}

/* Armed in a signal handler on a small stack, with no free descriptor: the page is mapped
 * nevertheless. */
static int armed(void) {
    stack_t small = {.ss_sp = malloc(16384), .ss_size = 8192};
    sigaltstack(&small, NULL);
    sigaction(SIGUSR1, &(struct sigaction){.sa_handler = handler, .sa_flags = SA_ONSTACK}, NULL);
    setrlimit(RLIMIT_NOFILE, &(struct rlimit){3, 3});
    EQUAL(dup(1), -1);
    raise(SIGUSR1);
    int first = faulted(3);
    pid_t child = fork();
    if (child == 0) _exit(faulted(3));
    say("%d %d\n", first, ended(child));
    return checks_failed;
}

int main(int argc, char **argv) {
    const char *mode = argc > 1 ? argv[1] : "";
    char byte;
    if (strcmp(mode, "work") == 0) return faulted(CALLS);
    if (strcmp(mode, "armed") == 0) return armed();
    if (strcmp(mode, "tree") == 0) return tree(argv[0]);
    /* One call for each byte. */
    while (read(0, &byte, 1) == 1) say("%d\n", faulted(1));
    return 0;
}
