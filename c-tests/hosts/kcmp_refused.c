/* A seccomp filter refuses kcmp(2), as those of container runtimes do. Instances that watch
 * different descriptors can be distinguished nevertheless. For instances that watch the same
 * descriptors, or none, it cannot be known which numbers are one instance. The argument: how many
 * instances watch nothing. */
#include "../check.h"
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>

int main(int count, char **arguments) {
    struct sock_filter refuse[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_kcmp, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog filter = {sizeof refuse / sizeof *refuse, refuse};
    int empty = count > 1 ? atoi(arguments[1]) : 0;
    CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0);
    for (int i = 0; i < 3; i++) add(epoll_create1(0), eventfd(0, 0), EPOLLIN);
    for (int i = 0; i < empty; i++) epoll_create1(0);
    CHECK(syscall(SYS_kcmp, getpid(), getpid(), KCMP_FILE, 0, 0) == -1);
    return verdict();
}
