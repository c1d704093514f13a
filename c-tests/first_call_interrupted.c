/* A handler runs during a thread's first call, while the library asks the kernel for the thread's
 * id, and itself makes the thread's first call. Every call counts.
 *
 * A filter that traps gettid causes the handler to run. It is installed without the library's
 * knowledge, after the library has looked for filters (at the first epoll call): if the library
 * knew the filter, it would not ask. */
#include "check.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <ucontext.h>

enum { THREADS = 20, LET_THROUGH = 0x5a };
static _Thread_local int deep;

/* A trapped gettid: makes another epoll call before it returns. */
static void on_trap(int number, siginfo_t *info, void *context) {
    int kept = errno;
    (void)number;
    QUIETLY(info->si_syscall == SYS_gettid);
    if (deep++ == 0) close(epoll_create1(EPOLL_CLOEXEC));
    deep--;
    ((ucontext_t *)context)->uc_mcontext.gregs[REG_RAX] = syscall(SYS_gettid, LET_THROUGH);
    errno = kept;
}

/* prctl(PR_SET_SECCOMP), which only the kernel sees. */
static long set_filter(struct sock_fprog *program) {
    register long unused1 __asm__("r10") = 0, unused2 __asm__("r8") = 0;
    long result;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "0"((long)SYS_prctl), "D"((long)PR_SET_SECCOMP), "S"((long)SECCOMP_MODE_FILTER), "d"(program),
                       "r"(unused1), "r"(unused2)
                     : "rcx", "r11", "memory");
    return result;
}

static void *thread(void *unused) {
    (void)unused;
    for (int i = 0; i < 3; i++) QUIETLY(close(epoll_create(1)) == 0);
    return NULL;
}

int main(void) {
    struct sock_filter rules[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_gettid, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, LET_THROUGH, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof rules / sizeof *rules, rules};
    struct sigaction action = {.sa_sigaction = on_trap, .sa_flags = SA_SIGINFO | SA_NODEFER};
    pthread_t threads[THREADS];
    sigaction(SIGSYS, &action, NULL);
    QUIETLY(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    QUIETLY(epoll_wait(-1, NULL, 0, 0) < 0);
    QUIETLY(set_filter(&program) == 0);
    for (int i = 0; i < THREADS; i++) QUIETLY(pthread_create(&threads[i], NULL, thread, NULL) == 0);
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    return verdict();
}
