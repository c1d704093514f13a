/* Compares the ledger (epollshim_stats, found at run time, absent natively) with the kernel's own
 * list in /proc. */
#if __has_include("epollshim.h")
#include "epollshim.h"
#else
struct epollshim_stats {
    uint64_t instances_live, watches_live, healed, unseen_instances, unseen_watches, lost, reconciled;
};
#endif

typedef int (*ledger_stats)(size_t size, struct epollshim_stats *out);

struct truth {
    int instances, watches, instance[1024];
};

/* What the kernel holds for this process. kcmp(2) distinguishes instances, and `tfd` lines are
 * interests. */
__attribute__((unused)) static struct truth kernel_truth(void) {
    struct truth truth = {.instances = 0};
    DIR *directory = opendir("/proc/self/fd");
    struct dirent *entry;
    while (directory != NULL && (entry = readdir(directory)) != NULL) {
        char path[64], target[64];
        int fd = atoi(entry->d_name), known = 0;
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        ssize_t length = readlink(path, target, sizeof target - 1);
        if (length < 0) continue;
        target[length] = 0;
        if (strcmp(target, "anon_inode:[eventpoll]") != 0) continue;
        for (int i = 0; i < truth.instances && !known; i++) {
            known = syscall(SYS_kcmp, getpid(), getpid(), KCMP_FILE, truth.instance[i], fd) == 0;
        }
        if (known || truth.instances == 1024) continue;
        truth.instance[truth.instances++] = fd;
        snprintf(path, sizeof path, "/proc/self/fdinfo/%d", fd);
        FILE *info = fopen(path, "re");
        char line[256];
        while (info != NULL && fgets(line, sizeof line, info) != NULL) truth.watches += strncmp(line, "tfd:", 4) == 0;
        if (info != NULL) fclose(info);
    }
    if (directory != NULL) closedir(directory);
    return truth;
}

/* Prints one line: whether the ledger and the kernel have the same number of instances and
 * interests. */
#define LEDGER_AGREES() ledger_agrees(__LINE__, 0)
/* The same, and the ledger knew it by itself: nothing was healed and nothing unseen. */
#define LEDGER_KNOWS() ledger_agrees(__LINE__, 1)

__attribute__((unused)) static void ledger_agrees(int line, int strictly) {
    ledger_stats stats = (ledger_stats)(uintptr_t)dlsym(RTLD_DEFAULT, "epollshim_stats");
    struct truth truth = kernel_truth();
    struct epollshim_stats ledger;
    memset(&ledger, 0, sizeof ledger);
    ledger.instances_live = (uint64_t)truth.instances;
    ledger.watches_live = (uint64_t)truth.watches;
    if (stats != NULL && stats(sizeof ledger, &ledger) != 0) say("FAIL line %d: epollshim_stats: errno %d\n", line, errno);
    int agrees = ledger.instances_live == (uint64_t)truth.instances && ledger.watches_live == (uint64_t)truth.watches;
    if (strictly && (ledger.healed || ledger.unseen_instances || ledger.unseen_watches)) agrees = 0;
    if (agrees) {
        say("ok   the ledger agrees with the kernel: %d instances, %d interests\n", truth.instances, truth.watches);
        return;
    }
    checks_failed = 1;
    say("FAIL line %d: the kernel has %d instances and %d interests; the ledger %llu and %llu (healed %llu, unseen "
        "%llu and %llu, lost %llu, reconciled %llu)\n",
        line, truth.instances, truth.watches, (unsigned long long)ledger.instances_live,
        (unsigned long long)ledger.watches_live, (unsigned long long)ledger.healed,
        (unsigned long long)ledger.unseen_instances, (unsigned long long)ledger.unseen_watches,
        (unsigned long long)ledger.lost, (unsigned long long)ledger.reconciled);
}
