// A program on a terminal, which watches its input by epoll. It prints its process id and its
// parent's, then a line for each signal with the count of that signal, and each line that it reads.
// "q" ends it; SIGTERM ends it with status 7.
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

static volatile sig_atomic_t came[65];

static void count(int signal) { came[signal]++; }

int main(int words, char **word) {
    int kinds[] = {SIGINT, SIGQUIT, SIGHUP, SIGUSR1, SIGCONT, SIGTERM, SIGALRM};
    int told[65] = {0};
    // They are delivered while it waits alone: none is missed.
    sigset_t blocked, waiting;
    sigfillset(&blocked);
    sigdelset(&blocked, SIGTSTP);
    sigprocmask(SIG_SETMASK, &blocked, &waiting);
    struct sigaction action = {.sa_handler = count};
    for (unsigned i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        struct sigaction old;
        sigaction(kinds[i], NULL, &old);
        if (old.sa_handler != SIG_IGN) sigaction(kinds[i], &action, NULL);
    }
    setvbuf(stdout, NULL, _IONBF, 0);
    int epfd = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN};
    int is_terminal = isatty(0);
    int is_watched = epoll_ctl(epfd, EPOLL_CTL_ADD, 0, &event) == 0;
    if (words > 1 && strcmp(word[1], "mute") == 0) {
        close(2);
    }
    printf("pid %d parent %d\n", (int)getpid(), (int)getppid());
    for (;;) {
        int got = epoll_pwait(epfd, &event, 1, is_watched ? -1 : 50, &waiting);
        for (unsigned i = 0; i < sizeof kinds / sizeof *kinds; i++) {
            for (int kind = kinds[i]; told[kind] < came[kind];) printf("signal %d: %d\n", kind, ++told[kind]);
        }
        if (came[SIGTERM]) return 7;
        if (came[SIGHUP]) return 8;
        if (got == 1) {
            char line[64];
            ssize_t length = read(0, line, sizeof line - 1);
            if (length <= 0 && is_terminal) {
                // It was closed: SIGHUP is on its way.
                epoll_ctl(epfd, EPOLL_CTL_DEL, 0, NULL);
                continue;
            }
            if (length <= 0) return length < 0;
            line[length] = 0;
            printf("read %s", line);
            if (line[0] == 'q') return 0;
        }
    }
}
