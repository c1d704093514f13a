/* Checks that a descriptor of the library is never visible. Three threads keep the library busy
 * with files, and the main thread looks.
 *
 * unseen_descriptors WORK LOOK COUNT
 *
 * WORK, of the threads:
 *     calls     epoll calls that succeed: lines of a log, records of a recording
 *     report    epollshim_report() in a loop
 *     refused   epoll_create1() beyond a limit of the user: the session and /proc are read
 *     none
 * LOOK, COUNT times:
 *     shared    a child that shares the descriptor table and makes epoll calls: a new descriptor
 *               still has the lowest free number
 *     fork, raw, clone, vfork, spawn
 *               a child, by that call, lists its descriptors
 *     dup       a new descriptor has the lowest free number
 *     sweep     close_range() of all numbers that the program does not use; for longer if the
 *               threads have made few calls
 *     wait      waitpid(-1, __WALL): there is no child
 *     single    with a child and no thread: the process has one thread whenever a call has returned
 *     newpid    with a child and no thread, after unshare(CLONE_NEWPID): no thread can be created
 *               any more, and the wait succeeds
 *     rest      nothing: the threads work for COUNT milliseconds */
#include "../check.h"

#include <linux/sched.h>
#include <sched.h>
#include <spawn.h>
#include <stdatomic.h>

#include "epollshim.h"

extern char **environ;

/* Calls of the threads, of which each should be logged or recorded while the main thread sweeps. */
#define MADE 200

static volatile int is_over;
static atomic_int made;
static int epfd, fd, null;

static void calls_once(void) {
    struct epoll_event event = interest(EPOLLIN, 1), got;
    QUIETLY(epoll_ctl(epfd, EPOLL_CTL_MOD, fd, &event) == 0);
    QUIETLY(epoll_wait(epfd, &got, 1, 0) == 1);
    made++;
}

static void calls(void) {
    while (!is_over) calls_once();
}

static void *work(void *argument) {
    const char *kind = argument;
    if (strcmp(kind, "calls") == 0) calls();
    else if (strcmp(kind, "report") == 0) {
        int (*report)(int) = (int (*)(int))dlsym(RTLD_DEFAULT, "epollshim_report");
        while (!is_over && report != NULL) QUIETLY(report(null) == 0);
    } else if (strcmp(kind, "refused") == 0) {
        while (!is_over) QUIETLY(epoll_create1(0) == -1 && errno == EMFILE);
    }
    return NULL;
}

/* How many descriptors from 3 on do not belong to the program: not its instances, its eventfd, and
 * the one that this lists the others with. */
static int strangers(void) {
    int count = 0;
    DIR *directory = opendir("/proc/self/fd");
    if (directory == NULL) return 100;
    struct dirent *entry;
    while ((entry = readdir(directory)) != NULL) {
        int number = atoi(entry->d_name);
        if (number < 3 || number == dirfd(directory) || number == null) continue;
        char path[300], target[300];
        snprintf(path, sizeof path, "/proc/self/fd/%s", entry->d_name);
        ssize_t length = readlink(path, target, sizeof target - 1);
        if (length < 0) continue;
        target[length] = 0;
        if (strncmp(target, "anon_inode:[event", 17) != 0) count++;
    }
    closedir(directory);
    return count;
}

/* A child that may run in its parent's memory, so without stdio and malloc: it tries each
 * number. */
static int strangers_by_number(void) {
    int count = 0;
    for (int number = 3; number < 64; number++)
        if (number != epfd && number != fd && number != null && fcntl(number, F_GETFD) != -1) count++;
    return count;
}

static int in_child(const char *how) {
    pid_t child = -1;
    if (strcmp(how, "fork") == 0) child = fork();
    else if (strcmp(how, "raw") == 0) child = (pid_t)syscall(SYS_fork);
    else if (strcmp(how, "clone") == 0) child = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
    if (child == 0) _exit(strangers());
    return status_of(child);
}

static int in_vfork(void) {
    pid_t child = vfork();
    if (child == 0) _exit(strangers_by_number());
    return status_of(child);
}

static int in_spawned(void) {
    char *words[] = {"unseen_descriptors", "child", NULL};
    pid_t child = -1;
    if (posix_spawn(&child, "/proc/self/exe", NULL, NULL, words, environ) != 0) return 100;
    return status_of(child);
}

static int lowest(int expected) {
    int copy = dup(fd);
    close(copy);
    return copy != expected;
}

static int not_single(void) {
    struct epoll_event got;
    epoll_wait(epfd, &got, 1, 0);
    /* Changes nothing, and fails in a process with several threads (unshare(2)). */
    return unshare(CLONE_VM) != 0;
}

static int fails_in_new_namespace(int time) {
    struct epoll_event got;
    if (time == 0 && unshare(CLONE_NEWPID) != 0) return 1;
    return epoll_wait(epfd, &got, 1, 0) != 1;
}

int main(int count, char **words) {
    if (count == 2 && strcmp(words[1], "child") == 0) return strangers();
    if (count != 4) return 2;
    const char *look = words[2];
    /* The caller may have left some open. */
    syscall(SYS_close_range, 3, ~0U, 0);
    int times = atoi(words[3]), found = 0;
    null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    epfd = epoll_create1(EPOLL_CLOEXEC);
    fd = eventfd(1, EFD_CLOEXEC);
    add(epfd, fd, EPOLLIN);
    int highest = dup(fd);
    close(highest);
    int is_alone = strcmp(words[1], "none") == 0, is_shared = strcmp(look, "shared") == 0;
    pid_t child = -1;
    if (is_shared && (child = (pid_t)syscall(SYS_clone, CLONE_FILES | SIGCHLD, 0, 0, 0, 0)) == 0) {
        while (getppid() != 1) calls_once();
        _exit(0);
    }
    if (is_alone && !is_shared && (child = fork()) == 0) {
        pause();
        _exit(0);
    }
    pthread_t threads[3];
    for (int i = 0; i < 3 && !is_alone; i++) pthread_create(threads + i, NULL, work, words[1]);
    nap(5);
    int needs_calls = strcmp(look, "sweep") == 0 && strcmp(words[1], "calls") == 0;
    for (int i = 0; i < times || (needs_calls && made < MADE); i++) {
        if (is_shared) calls_once();
        if (strcmp(look, "dup") == 0 || is_shared) found += lowest(highest);
        else if (strcmp(look, "sweep") == 0) found += syscall(SYS_close_range, highest, ~0U, 0) != 0;
        else if (strcmp(look, "wait") == 0) found += waitpid(-1, NULL, __WALL | WNOHANG) != -1 || errno != ECHILD;
        else if (strcmp(look, "single") == 0) found += not_single();
        else if (strcmp(look, "newpid") == 0) found += fails_in_new_namespace(i);
        else if (strcmp(look, "rest") == 0) nap(1);
        else if (strcmp(look, "vfork") == 0) found += in_vfork() != 0;
        else if (strcmp(look, "spawn") == 0) found += in_spawned() != 0;
        else found += in_child(look) != 0;
    }
    is_over = 1;
    for (int i = 0; i < 3 && !is_alone; i++) pthread_join(threads[i], NULL);
    if (child > 0) {
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
    }
    EQUAL(found, 0);
    return verdict();
}
