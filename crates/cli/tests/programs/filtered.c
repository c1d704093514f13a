// Installs a seccomp filter that forbids kcmp: with any argument in a new thread, otherwise in the
// first thread. Prints "ready" and waits until its input ends.
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static void *sandbox(void *unused) {
    (void)unused;
    struct sock_filter rules[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_kcmp, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {4, rules};
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0) {
        printf("ready\n");
        fflush(stdout);
    }
    char byte;
    return (void *)read(0, &byte, 1);
}

int main(int count, char **arguments) {
    (void)arguments;
    pthread_t thread;
    if (count == 1) return sandbox(NULL) != NULL;
    return pthread_create(&thread, NULL, sandbox, NULL) != 0 || pthread_join(thread, NULL) != 0;
}
