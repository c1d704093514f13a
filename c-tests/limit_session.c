/* limit_session WHAT LIMIT ROUNDS: the processes of one user against user-instances=LIMIT, or
 * user-watches=LIMIT.
 *
 * together   eight processes create all that they can, at the same time: LIMIT in total
 * kill       eight busy processes are stopped now and then, looked at from outside, and killed at
 *            random. There are never more than LIMIT. When all are dead, LIMIT can be created, even
 *            before any process has waited for them
 * exec       what survives exec counts, the rest is released (LIMIT is 6)
 * fork       what a child inherits does not count twice (LIMIT is 6)
 * own-exec, own-fork
 *            the same with instances=6: what is inherited counts */
#include "limit.h"

#define PROCESSES 8

static int limit;
static uint64_t state = 88172645463325252u;

static unsigned pick(unsigned bound) {
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    return (unsigned)((state * 2685821657736338717u) >> 33) % bound;
}

static struct shared {
    volatile int go, ready, done;
    volatile int got[PROCESSES];
} *shared;

static void await(volatile int *word, int value) {
    for (int64_t end = now_ns() + 60000000000; *word < value && now_ns() < end;) {
        struct timespec soon = {0, 50000};
        nanosleep(&soon, NULL);
    }
}

static void together(int rounds) {
    for (int round = 0; round < rounds; round++) {
        pid_t children[PROCESSES];
        memset((void *)shared, 0, sizeof *shared);
        for (int i = 0; i < PROCESSES; i++) {
            children[i] = fork();
            if (children[i] != 0) continue;
            __sync_fetch_and_add(&shared->ready, 1);
            while (!shared->go) continue;
            for (int try = 0; try < limit + 5; try++) {
                if (epoll_create1(0) >= 0) shared->got[i]++;
                else if (errno != EMFILE) shared->got[i] += 1000;
            }
            __sync_fetch_and_add(&shared->done, 1);
            await(&shared->go, 2);
            if (round % 2) pause();
            _exit(0);
        }
        await(&shared->ready, PROCESSES);
        shared->go = 1;
        await(&shared->done, PROCESSES);
        int sum = 0;
        for (int i = 0; i < PROCESSES; i++) sum += shared->got[i];
        shared->go = 2;
        for (int i = 0; i < PROCESSES; i++) {
            if (round % 2) kill(children[i], SIGKILL);
            if (round % 4 < 2) status_of(children[i]);
        }
        /* The descriptors of a killed process are gone when it is a zombie. */
        for (int i = 0; i < PROCESSES && round % 4 >= 2; i++) {
            siginfo_t info;
            waitid(P_PID, (id_t)children[i], &info, WEXITED | WNOWAIT);
        }
        if (sum != limit) check_equal(sum, limit, "of eight who took all they could get, together", __LINE__);
        int had = instances_to_be_had();
        if (had != limit) check_equal(had, limit, "after they ended, to be had again", __LINE__);
        for (int i = 0; i < PROCESSES && round % 4 >= 2; i++) status_of(children[i]);
    }
    EQUAL(instances_to_be_had(), limit);
}

/* The instances (or interests) of another process, which is stopped. */
static int of_process(pid_t pid, int watches) {
    char path[300], target[64];
    snprintf(path, sizeof path, "/proc/%d/fd", pid);
    DIR *directory = opendir(path);
    struct dirent *entry;
    int sum = 0;
    while (directory != NULL && (entry = readdir(directory)) != NULL) {
        snprintf(path, sizeof path, "/proc/%d/fd/%.20s", pid, entry->d_name);
        ssize_t length = readlink(path, target, sizeof target - 1);
        if (length < 0) continue;
        target[length] = 0;
        if (strcmp(target, "anon_inode:[eventpoll]") != 0) continue;
        sum += !watches;
        snprintf(path, sizeof path, "/proc/%d/fdinfo/%.20s", pid, entry->d_name);
        FILE *info = watches ? fopen(path, "re") : NULL;
        char line[256];
        while (info != NULL && fgets(line, sizeof line, info) != NULL) sum += strncmp(line, "tfd:", 4) == 0;
        if (info != NULL) fclose(info);
    }
    if (directory != NULL) closedir(directory);
    return sum;
}

static void busy(int watches) {
    int epfds[6], fds[40];
    alarm(60);
    state += (uint64_t)getpid() * 7919;
    for (int i = 0; i < 40; i++) fds[i] = eventfd(0, 0);
    memset(epfds, -1, sizeof epfds);
    if (watches) epfds[0] = epoll_create1(0);
    for (;;) {
        int i = (int)pick(watches ? 40 : 6);
        if (watches) {
            if (add(epfds[0], fds[i], EPOLLIN) == 0 || pick(2)) continue;
            if (pick(2)) epoll_ctl(epfds[0], EPOLL_CTL_DEL, fds[i], NULL);
            else close(fds[i]), fds[i] = eventfd(0, 0);
        } else if (epfds[i] < 0) {
            epfds[i] = epoll_create1(0);
        } else {
            close(epfds[i]);
            epfds[i] = -1;
        }
    }
}

static pid_t start_busy(int watches) {
    pid_t child = fork();
    if (child == 0) busy(watches);
    return child;
}

static void kill_them(int rounds, int watches) {
    pid_t children[PROCESSES];
    int highest = 0, full = 0, own = watches ? epoll_create1(0) : -1;
    for (int i = 0; i < PROCESSES; i++) children[i] = start_busy(watches);
    for (int round = 0; round < rounds; round++) {
        struct timespec while_ = {0, 500000 + (long)pick(4000) * 1000};
        nanosleep(&while_, NULL);
        for (int i = 0; i < PROCESSES; i++) kill(children[i], SIGSTOP);
        for (int i = 0; i < PROCESSES; i++) QUIETLY(waitpid(children[i], NULL, WUNTRACED) == children[i]);
        int sum = 0;
        for (int i = 0; i < PROCESSES; i++) sum += of_process(children[i], watches);
        if (sum > highest) highest = sum;
        full += sum >= limit - 1;
        for (int i = 0; i < PROCESSES; i++) {
            if (pick(4)) {
                kill(children[i], SIGCONT);
                continue;
            }
            kill(children[i], SIGKILL);
            status_of(children[i]);
            children[i] = start_busy(watches);
        }
    }
    if (highest > limit) EQUAL(highest, limit);
    CHECK(full > 0);
    for (int i = 0; i < PROCESSES; i++) {
        siginfo_t info;
        kill(children[i], SIGKILL);
        waitid(P_PID, (id_t)children[i], &info, WEXITED | WNOWAIT);
    }
    /* Zombies hold nothing. */
    EQUAL(watches ? watches_to_be_had(own) : instances_to_be_had(), limit);
    for (int i = 0; i < PROCESSES; i++) status_of(children[i]);
    EQUAL(watches ? watches_to_be_had(own) : instances_to_be_had(), limit);
}

static void again(char **arguments, const char *stage) {
    char *words[] = {arguments[0], arguments[1], arguments[2], (char *)(uintptr_t)stage, NULL};
    execv("/proc/self/exe", words);
    CHECK(!"execv returns");
}

static void through_exec(char **arguments, int stage) {
    int made[8];
    if (stage < 20) {
        /* Nothing of the earlier programs of this process is left. */
        check_equal(instances_to_be_had(), 6, "at the beginning, to be had", __LINE__);
        for (int i = 0; i < 5; i++) made[i] = epoll_create1(EPOLL_CLOEXEC);
        char text[16];
        snprintf(text, sizeof text, "%d", stage + 1);
        again(arguments, text);
    }
    if (stage == 20) {
        EQUAL(instances_to_be_had(), 6);
        for (int i = 0; i < 3; i++) made[i] = epoll_create1(0);
        for (int i = 3; i < 5; i++) made[i] = epoll_create1(EPOLL_CLOEXEC);
        (void)made;
        again(arguments, "21");
    }
    /* Three came along. */
    EQUAL(kernel_truth().instances, 3);
    EQUAL(instances_to_be_had(), 3);
    struct truth truth = kernel_truth();
    for (int i = 0; i < truth.instances; i++) GIVES(close(truth.instance[i]), 0);
    EQUAL(instances_to_be_had(), 6);
}

static void through_fork(int of_user) {
    int one = epoll_create1(0), other = epoll_create1(0);
    pid_t child = fork();
    if (child == 0) {
        EQUAL(instances_to_be_had(), 4);
        int mine = epoll_create1(0);
        close(one);
        close(other);
        /* The parent's still count for the user, but not for this process. */
        EQUAL(instances_to_be_had(), of_user ? 3 : 5);
        close(mine);
        for (int i = 0; i < 3; i++) mine = epoll_create1(0);
        _exit(checks_failed ? 1 : 5);
    }
    EQUAL(status_of(child), 5);
    EQUAL(instances_to_be_had(), 4);
    close(one);
    close(other);
    EQUAL(instances_to_be_had(), 6);
}

int main(int count, char **arguments) {
    if (count < 4) return 2;
    const char *what = arguments[1];
    limit = atoi(arguments[2]);
    int rounds = atoi(arguments[3]);
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (strcmp(what, "together") == 0) together(rounds);
    else if (strcmp(what, "kill") == 0) kill_them(rounds, 0);
    else if (strcmp(what, "kill-watches") == 0) kill_them(rounds, 1);
    else if (strstr(what, "exec") != NULL) through_exec(arguments, rounds);
    else through_fork(strncmp(what, "own", 3) != 0);
    return verdict();
}
