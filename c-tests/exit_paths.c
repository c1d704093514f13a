/* Uses epoll, then ends as its argument says. The exit status is the one that the program gave,
 * whatever report is written on the way. */
#include "check.h"

#include <assert.h>
#include <setjmp.h>
#include <sys/time.h>

static int ending_status = 37;
static char *const script[] = {"sh", "-c", "exit 38", NULL};
static char *const environment[] = {"PATH=/usr/bin:/bin", NULL};

static void at_exit(void) { say("     atexit handler\n"); }
static void at_quick(void) { say("     at_quick_exit handler\n"); }
__attribute__((destructor)) static void destructor(void) { say("     destructor\n"); }

static void *end_later(void *main_thread) {
    pthread_join(*(pthread_t *)main_thread, NULL);
    int epfd = epoll_create1(0);
    CHECK(epfd >= 0 && close(epfd) == 0);
    exit(ending_status);
}

static void *end_now(void *unused) {
    (void)unused;
    exit(ending_status);
}

static void *last_thread(void *main_thread) {
    pthread_join(*(pthread_t *)main_thread, NULL);
    return NULL;
}

static void *hammer(void *unused) {
    for (;;) {
        int epfd = epoll_create1(EPOLL_CLOEXEC), fd = eventfd(1, EFD_CLOEXEC), copy = dup(fd);
        add(epfd, fd, EPOLLIN), add(epfd, copy, EPOLLIN);
        close(fd), close(epfd), close(copy);
    }
    return unused;
}

static void hammer_from_threads(void) {
    pthread_t thread;
    for (int i = 0; i < 6; i++) QUIETLY(pthread_create(&thread, NULL, hammer, NULL) == 0);
    nap(30);
}

static void exit_in_handler(int number) { exit(number == SIGALRM ? ending_status : 1); }
static void _exit_in_handler(int number) { _exit(number == SIGALRM ? ending_status : 1); }
static void _exit_now(void) { _exit(ending_status); }

/* As many servers do: clean up, restore the default action, and send the signal again. It is
 * blocked until the handler returns. */
static void send_again(int number) {
    signal(number, SIG_DFL);
    raise(number);
}

static jmp_buf before_abort;
static void leave_abort(int number) { longjmp(before_abort, number); }

static void end_in_handler(int number) { _exit(number == SIGUSR1 ? ending_status : 1); }

int main(int count, char **arguments) {
    const char *way = count > 1 ? arguments[1] : "return";
    int epfd = WORKS(epoll_create1(0)), fd = eventfd(1, 0);
    pthread_t self = pthread_self(), thread;
    GIVES(add(epfd, fd, EPOLLIN), 0);
    GIVES(events_of(epfd, 0), EPOLLIN);
    atexit(at_exit);
    at_quick_exit(at_quick);
#define WAY(name) if (strcmp(way, name) == 0)
    WAY("return") return ending_status;
    WAY("exit") exit(ending_status);
    WAY("_exit") _exit(ending_status);
    WAY("_Exit") _Exit(ending_status);
    WAY("quick_exit") quick_exit(ending_status);
    WAY("syscall_exit_group") syscall(SYS_exit_group, ending_status);
    WAY("thread_after_main") {
        pthread_create(&thread, NULL, end_later, &self);
        pthread_exit(NULL);
    }
    WAY("last_thread") {
        pthread_create(&thread, NULL, last_thread, &self);
        pthread_exit(NULL);
    }
    WAY("thread") {
        pthread_create(&thread, NULL, end_now, NULL);
        for (;;) pause();
    }
    WAY("handler") {
        signal(SIGUSR1, end_in_handler);
        raise(SIGUSR1);
    }
    WAY("exit_from_the_midst") {
        signal(SIGALRM, exit_in_handler);
        setitimer(ITIMER_REAL, &(struct itimerval){{0, 0}, {0, 5000}}, NULL);
        hammer(NULL);
    }
    WAY("_exit_from_the_midst") {
        signal(SIGALRM, _exit_in_handler);
        setitimer(ITIMER_REAL, &(struct itimerval){{0, 0}, {0, 5000}}, NULL);
        hammer(NULL);
    }
    WAY("exit_amid_threads") {
        hammer_from_threads();
        exit(ending_status);
    }
    WAY("_exit_amid_threads") {
        hammer_from_threads();
        _exit(ending_status);
    }
    WAY("exec_amid_threads") {
        hammer_from_threads();
        execv("/bin/sh", script);
    }
    WAY("_exit_in_atexit") {
        atexit(_exit_now);
        exit(1);
    }
    WAY("full_table") {
        struct rlimit limit;
        getrlimit(RLIMIT_NOFILE, &limit);
        limit.rlim_cur = (rlim_t)fd + 1;
        EQUAL(setrlimit(RLIMIT_NOFILE, &limit), 0);
        FAILS(dup(fd), EMFILE);
        return ending_status;
    }
    WAY("fork_exit") {
        pid_t child = fork();
        if (child == 0) {
            GIVES(events_of(epfd, 0), EPOLLIN);
            exit(36);
        }
        EQUAL(status_of(child), 36);
        return ending_status;
    }
    WAY("abort") {
        setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
        abort();
    }
    WAY("killed") raise(SIGKILL);
    WAY("assert") {
        setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
        assert(epfd < 0);
    }
    WAY("raise") raise(SIGTERM);
    WAY("kill") kill(getpid(), SIGTERM);
    WAY("kill_group") {
        setpgid(0, 0);
        kill(0, SIGTERM);
    }
    WAY("killpg") {
        setpgid(0, 0);
        killpg(getpgrp(), SIGTERM);
    }
    WAY("tgkill") tgkill(getpid(), gettid(), SIGTERM);
    WAY("pthread_kill") pthread_kill(pthread_self(), SIGTERM);
    WAY("syscall_kill") syscall(SYS_kill, getpid(), SIGTERM);
    WAY("syscall_tkill") syscall(SYS_tkill, gettid(), SIGTERM);
    WAY("syscall_tgkill") syscall(SYS_tgkill, getpid(), gettid(), SIGTERM);
    WAY("send_again") {
        signal(SIGTERM, send_again);
        kill(getpid(), SIGTERM);
    }
    WAY("send_again_own_stack") {
        static char stack[16384];
        sigaltstack(&(stack_t){.ss_sp = stack, .ss_size = sizeof stack}, NULL);
        struct sigaction action = {.sa_handler = send_again, .sa_flags = SA_ONSTACK};
        sigaction(SIGTERM, &action, NULL);
        kill(getpid(), SIGTERM);
    }
    WAY("survived") {
        /* None of these ends the program. */
        sigset_t set, none;
        sigemptyset(&none);
        sigemptyset(&set);
        sigaddset(&set, SIGUSR1);
        GIVES(kill(getpid(), 0), 0);
        GIVES(raise(SIGCHLD), 0);
        signal(SIGUSR2, SIG_IGN);
        GIVES(raise(SIGUSR2), 0);
        GIVES(pthread_sigmask(SIG_BLOCK, &set, NULL), 0);
        GIVES(kill(getpid(), SIGUSR1), 0);
        GIVES(sigwaitinfo(&set, NULL), SIGUSR1);
        FAILS(kill(-(1 << 30), SIGTERM), ESRCH);
        signal(SIGABRT, leave_abort);
        if (setjmp(before_abort) == 0) abort();
        return ending_status;
    }
    WAY("closed_stderr") {
        GIVES(close(2), 0);
        return ending_status;
    }
    WAY("execve") execve("/bin/sh", script, environment);
    WAY("execv") execv("/bin/sh", script);
    WAY("execvp") execvp("sh", script);
    WAY("execvpe") execvpe("sh", script, environment);
    WAY("execl") execl("/bin/sh", "sh", "-c", "exit 38", (char *)NULL);
    WAY("execlp") execlp("sh", "sh", "-c", "exit 38", (char *)NULL);
    WAY("execle") execle("/bin/sh", "sh", "-c", "exit 38", (char *)NULL, environment);
    WAY("execl_long") {
        execl("/bin/sh", "sh", "-c", "test \"$9\" = i && exit 38", "0", "a", "b", "c", "d", "e", "f", "g", "h", "i", "j",
              (char *)NULL);
    }
    WAY("execveat") execveat(AT_FDCWD, "/bin/sh", script, environment, 0);
    WAY("fexecve") fexecve(open("/bin/sh", O_RDONLY | O_CLOEXEC), script, environment);
    WAY("syscall_execve") syscall(SYS_execve, "/bin/sh", script, environment);
    WAY("failing_exec") {
        FAILS(execl("/nonexistent/program", "program", (char *)NULL), ENOENT);
        FAILS(execve("/", script, environment), EACCES);
        FAILS(execv("/etc/passwd", script), EACCES);
        FAILS(execvp("no-such-program-anywhere", script), ENOENT);
        FAILS(execvpe("no-such-program-anywhere", script, environment), ENOENT);
        FAILS(execlp("no-such-program-anywhere", "x", (char *)NULL), ENOENT);
        FAILS(execle("/nonexistent/program", "x", (char *)NULL, environment), ENOENT);
#ifdef __GLIBC__
        FAILS(fexecve(-1, script, environment), EINVAL);
#else
        FAILS(fexecve(-1, script, environment), EBADF);
#endif
        FAILS(execveat(-1, "sh", script, environment, 0), EBADF);
        /* And the program continues. */
        GIVES(events_of(epfd, 0), EPOLLIN);
        GIVES(close(epfd), 0);
        LEDGER_KNOWS();
        return ending_status;
    }
    WAY("inherited") {
        /* Executes itself again: the instance and its interest survive exec, with their numbers. */
        char numbers[2][16];
        snprintf(numbers[0], sizeof numbers[0], "%d", epfd);
        snprintf(numbers[1], sizeof numbers[1], "%d", fd);
        execl("/proc/self/exe", arguments[0], "heir", numbers[0], numbers[1], (char *)NULL);
    }
    WAY("heir") {
        int inherited = atoi(arguments[2]), watched = atoi(arguments[3]);
        GIVES(events_of(inherited, 0), EPOLLIN);
        LEDGER_AGREES();
        GIVES(epoll_ctl(inherited, EPOLL_CTL_DEL, watched, NULL), 0);
        LEDGER_AGREES();
        GIVES(close(inherited), 0);
        LEDGER_AGREES();
        return ending_status;
    }
    say("FAIL no such way to end: %s\n", way);
    return 1;
}
