/* shared_memory HOW END [init] [RULES]: a process creates an epoll instance with ten interests and
 * waits seven times. Then a child that shares its memory closes all its descriptors, and ends in a
 * given way. Then the parent waits seven times more. Whatever the child does to its own descriptor
 * table, the parent's instance and interests stay unchanged, and the child's end is not the
 * parent's. A child that also shares the table (CLONE_FILES) closes what the parent has.
 *
 * HOW says how the child is created, END how it ends: exit, group, exec or kill. With "init" the
 * parent is pid 1 of a pid namespace. RULES are those of a filter (refuse.h). Exit status 77: this
 * user may not do that here. */
#include "../check.h"

#include <linux/sched.h>
#include <sched.h>
#include <spawn.h>

#include "refuse.h"

#define WATCHED 10
#define STACK 65536

static int epfd, watched[WATCHED];
static const char *end;
static int shares_the_table;
static char *stack;

static void waits(int count) {
    struct epoll_event event;
    for (int i = 0; i < count; i++) QUIETLY(epoll_wait(epfd, &event, 1, 0) == 0);
}

static void cannot(const char *what) {
    say("skipped: %s: %s\n", what, strerror(errno));
    _exit(77);
}

/* What the child does. It does not return. */
__attribute__((noinline, noreturn)) static void closes_and_ends(void) {
    for (int i = 0; i < WATCHED; i++) close(watched[i]);
    if (!shares_the_table) close(epfd);
    if (!strcmp(end, "exec")) execl("/bin/true", "true", (char *)NULL);
    if (!strcmp(end, "group")) syscall(SYS_exit_group, 3);
    if (!strcmp(end, "kill")) kill((pid_t)syscall(SYS_getpid), SIGKILL);
    _exit(3);
}

static int child(void *unused) {
    (void)unused;
    closes_and_ends();
}

/* A stack on which a return enters the child, with the alignment that a function expects. */
static void **returning_stack(void) {
    void **top = (void **)(stack + STACK - 64);
    top[0] = (void *)closes_and_ends;
    top[1] = NULL;
    return top;
}

static pid_t by_clone(unsigned long flags) {
    shares_the_table = (flags & CLONE_FILES) != 0;
    return clone(child, stack + STACK, (int)flags | CLONE_VM | SIGCHLD, NULL);
}

/* Thread-local storage as glibc would create it for a new thread. */
static pid_t with_own_storage(unsigned long flags) {
    char *storage = mmap(NULL, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    uintptr_t *block = (uintptr_t *)(storage + STACK - 8192);
    block[0] = block[2] = (uintptr_t)block;
    return clone(child, stack + STACK, (int)flags | CLONE_VM | CLONE_SETTLS | SIGCHLD, NULL, NULL, block, NULL);
}

static pid_t by_raw_clone(unsigned long flags) {
    return (pid_t)syscall(SYS_clone, flags | CLONE_VM | CLONE_VFORK | SIGCHLD, returning_stack(), NULL, NULL, NULL);
}

static pid_t by_raw_clone3(unsigned long flags) {
    struct clone_args arguments = {.flags = flags | CLONE_VM | CLONE_VFORK, .exit_signal = SIGCHLD};
    arguments.stack = (uintptr_t)stack;
    arguments.stack_size = (uintptr_t)returning_stack() - (uintptr_t)stack;
    return (pid_t)syscall(SYS_clone3, &arguments, sizeof arguments);
}

/* Unseen by every hook. */
static pid_t by_instruction(unsigned long flags) {
    long result = SYS_clone;
    void **top = returning_stack();
    register long none asm("r10") = 0;
    register long storage asm("r8") = 0;
    asm volatile(
        "syscall\n\t"
        "test %%rax, %%rax\n\t"
        "jnz 1f\n\t"
        "ret\n"
        "1:"
        : "+a"(result)
        : "D"(flags | CLONE_VM | CLONE_VFORK | SIGCHLD), "S"(top), "d"(0L), "r"(none), "r"(storage)
        : "rcx", "r11", "memory");
    if (result < 0) errno = (int)-result;
    return result < 0 ? -1 : (pid_t)result;
}

/* Not inlined: no value of the caller may live in registers across vfork. */
__attribute__((noinline)) static pid_t by_vfork(void) {
    pid_t pid = vfork();
    if (pid == 0) closes_and_ends();
    return pid;
}

/* The child has a child of its own, which ends first. */
__attribute__((noinline)) static pid_t by_two_vforks(void) {
    pid_t pid = vfork();
    if (pid == 0) {
        by_vfork();
        closes_and_ends();
    }
    return pid;
}

static pid_t by_spawn(void) {
    static char *const arguments[] = {"true", NULL};
    posix_spawn_file_actions_t actions;
    pid_t pid;
    posix_spawn_file_actions_init(&actions);
    for (int i = 0; i < WATCHED; i++) posix_spawn_file_actions_addclose(&actions, watched[i]);
    posix_spawn_file_actions_addclose(&actions, epfd);
    int error = posix_spawn(&pid, "/bin/true", &actions, NULL, arguments, environ);
    posix_spawn_file_actions_destroy(&actions);
    errno = error;
    return error == 0 ? pid : -1;
}

/* This child has its own memory: it waits on the instance, and has a report of its own. */
static pid_t by_fork(long raw) {
    pid_t pid = raw ? (pid_t)syscall(SYS_fork) : fork();
    if (pid == 0) {
        int own = epoll_create1(EPOLL_CLOEXEC);
        waits(3);
        QUIETLY(close(own) == 0);
        _exit(checks_failed ? 1 : 3);
    }
    return pid;
}

/* A fork's copy that is lent before it was ever used. */
static pid_t by_raw_fork_and_vfork(void) {
    pid_t pid = (pid_t)syscall(SYS_fork);
    if (pid == 0) {
        int status = status_of(by_vfork());
        waits(3);
        _exit(checks_failed ? 1 : status);
    }
    return pid;
}

/* From now on children are created in a new pid namespace. */
static void new_namespace(void) {
    if (unshare(CLONE_NEWPID) != 0 && unshare(CLONE_NEWUSER | CLONE_NEWPID) != 0) cannot("unshare");
}

/* The same by setns, into a namespace that already has a process: children have other pids than
 * 1. */
static void entered_namespace(void) {
    int gate[2];
    int own = open("/proc/self/ns/pid", O_RDONLY | O_CLOEXEC);
    if (own < 0 || pipe2(gate, O_CLOEXEC) != 0) cannot("its own namespace");
    new_namespace();
    pid_t init = fork();
    if (init == 0) {
        char byte;
        close(gate[1]);
        _exit(read(gate[0], &byte, 1) != 0);
    }
    int other = open("/proc/self/ns/pid_for_children", O_RDONLY | O_CLOEXEC);
    if (init < 0 || other < 0 || setns(own, CLONE_NEWPID) != 0 || setns(other, CLONE_NEWPID) != 0) cannot("setns");
    close(own);
    close(other);
    close(gate[0]);
    /* Its end would end the namespace, so it waits until this process has ended. */
}

static pid_t starts(const char *how) {
    if (!strncmp(how, "new-", 4)) {
        new_namespace();
        how += 4;
    } else if (!strncmp(how, "entered-", 8)) {
        entered_namespace();
        how += 8;
    }
    if (!strcmp(how, "vfork")) return by_vfork();
    if (!strcmp(how, "vfork-twice")) return by_two_vforks();
    if (!strcmp(how, "spawn")) return by_spawn();
    if (!strcmp(how, "fork")) return by_fork(0);
    if (!strcmp(how, "raw-fork")) return by_fork(1);
    if (!strcmp(how, "raw-fork-vfork")) return by_raw_fork_and_vfork();
    if (!strcmp(how, "clone")) return by_clone(CLONE_VFORK);
    if (!strcmp(how, "clone-pid")) return by_clone(CLONE_VFORK | CLONE_NEWPID);
    if (!strcmp(how, "clone-user-pid")) return by_clone(CLONE_VFORK | CLONE_NEWUSER | CLONE_NEWPID);
    if (!strcmp(how, "clone-files")) return by_clone(CLONE_VFORK | CLONE_FILES);
    if (!strcmp(how, "clone-files-pid")) return by_clone(CLONE_VFORK | CLONE_FILES | CLONE_NEWPID);
    if (!strcmp(how, "beside")) return by_clone(0);
    if (!strcmp(how, "beside-pid")) return by_clone(CLONE_NEWPID);
    if (!strcmp(how, "beside-files")) return by_clone(CLONE_FILES);
    if (!strcmp(how, "beside-files-pid")) return by_clone(CLONE_FILES | CLONE_NEWPID);
    if (!strcmp(how, "storage")) return with_own_storage(CLONE_VFORK);
    if (!strcmp(how, "storage-pid")) return with_own_storage(CLONE_VFORK | CLONE_NEWPID);
    if (!strcmp(how, "storage-beside-pid")) return with_own_storage(CLONE_NEWPID);
    if (!strcmp(how, "raw-clone")) return by_raw_clone(0);
    if (!strcmp(how, "raw-clone-pid")) return by_raw_clone(CLONE_NEWPID);
    if (!strcmp(how, "raw-clone3")) return by_raw_clone3(0);
    if (!strcmp(how, "raw-clone3-pid")) return by_raw_clone3(CLONE_NEWPID);
    if (!strcmp(how, "instruction")) return by_instruction(0);
    if (!strcmp(how, "instruction-pid")) return by_instruction(CLONE_NEWPID);
    say("no such way: %s\n", how);
    _exit(2);
}

/* The interests that the kernel has. */
static int kernel_watches(void) {
    char path[64], text[8192];
    int count = 0;
    snprintf(path, sizeof path, "/proc/self/fdinfo/%d", epfd);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return -1;
    for (ssize_t length; (length = read(fd, text, sizeof text - 1)) > 0;) {
        text[length] = 0;
        for (char *at = text; (at = strstr(at, "tfd:")) != NULL; at++) count++;
    }
    close(fd);
    return count;
}

static void becomes_init(void) {
    new_namespace();
    pid_t init = fork();
    if (init < 0) cannot("fork");
    if (init != 0) {
        int status = status_of(init);
        _exit(status < 256 ? status : 1);
    }
    CHECK(syscall(SYS_getpid) == 1);
}

int main(int count, char **words) {
    if (count < 3) return 2;
    end = words[2];
    if (count > 3 && !strcmp(words[3], "init")) becomes_init();
    if (count > 4 && refuse(words[4]) != 0) cannot("seccomp");
    stack = mmap(NULL, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    epfd = epoll_create1(EPOLL_CLOEXEC);
    for (int i = 0; i < WATCHED; i++) {
        watched[i] = eventfd(0, EFD_CLOEXEC);
        QUIETLY(add(epfd, watched[i], EPOLLIN) == 0);
    }
    waits(7);
    pid_t pid = starts(words[1]);
    if (pid < 0) cannot(words[1]);
    int status = status_of(pid);
    say("the child ends with %d\n", status);
    waits(7);
    EQUAL(kernel_watches(), shares_the_table ? 0 : WATCHED);
    return verdict();
}
