/* A filter (seccomp) that answers some system calls itself, with an error or with 0. */
#ifndef REFUSE_H
#define REFUSE_H
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>

#ifndef MADV_WIPEONFORK
#define MADV_WIPEONFORK 18
#endif

static const struct {
    const char *name;
    int number;
    /* The value of the third argument that is refused; -1: any. */
    int third;
} refusable[] = {
    {"getpid", SYS_getpid, -1},   {"gettid", SYS_gettid, -1},
    {"kcmp", SYS_kcmp, -1},       {"tgkill", SYS_tgkill, -1},
    {"poll", SYS_poll, -1},       {"robust_list", SYS_get_robust_list, -1},
    {"wipe", SYS_madvise, MADV_WIPEONFORK},
};

/* `rules` is "NAME=ERRNO,NAME=ERRNO"; errno 0 is a success that returns 0. Returns 0 if the filter
 * is installed. */
static int refuse(const char *rules) {
    struct sock_filter filter[64];
    unsigned short length = 0;
    while (*rules != 0) {
        size_t name = strcspn(rules, "="), i = 0;
        while (i < sizeof refusable / sizeof *refusable &&
               (strlen(refusable[i].name) != name || strncmp(refusable[i].name, rules, name) != 0))
            i++;
        if (i == sizeof refusable / sizeof *refusable || rules[name] != '=' || length > 56) return -1;
        unsigned error = (unsigned)strtoul(rules + name + 1, NULL, 10);
        unsigned char has_third = refusable[i].third >= 0;
        filter[length++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
        filter[length++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)refusable[i].number, 0,
                                                        (unsigned char)(has_third ? 3 : 1));
        if (has_third) {
            filter[length++] =
                (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[2]));
            filter[length++] =
                (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)refusable[i].third, 0, 1);
        }
        filter[length++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error);
        rules += name + 1 + strcspn(rules + name + 1, ",");
        if (*rules == ',') rules++;
    }
    filter[length++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    struct sock_fprog program = {length, filter};
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0;
}
#endif
