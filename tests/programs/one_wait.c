/* one_wait STATUS [HOW]: creates an instance, adds an interest, and waits once, without an event.
 * Then it ends with STATUS, by return from main, or by HOW:
 *
 *     _exit     _exit
 *     thread    exit, in a thread with the smallest possible stack
 *     handler   _exit, in a signal handler on an alternate stack of SIGSTKSZ's traditional 8 KiB
 *     family    return from main, after eight concurrent children did the same with status 0
 *     elsewhere return from main, in another working directory
 *
 * With FILE in the environment, it first opens that file and writes one line to it. If descriptor 2
 * was closed, the file becomes descriptor 2. */
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/wait.h>
#include <unistd.h>

static int status;

static void *end_thread(void *unused)
{
    (void)unused;
    exit(status);
}

static void end_handler(int signal)
{
    (void)signal;
    _exit(status);
}

static int use_epoll(void)
{
    int ends[2];
    int epoll = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN};
    return epoll != -1 && pipe(ends) == 0 && epoll_ctl(epoll, EPOLL_CTL_ADD, ends[0], &event) == 0 &&
           epoll_wait(epoll, &event, 1, 0) == 0;
}

int main(int argc, char **argv)
{
    if (argc < 2)
        return 99;
    status = atoi(argv[1]);
    const char *how = argc > 2 ? argv[2] : "";
    const char *path = getenv("FILE");
    if (path) {
        int file = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
        if (file == -1 || write(file, "mine\n", 5) != 5)
            return 98;
    }
    if (strcmp(how, "family") == 0) {
        for (int child = 0; child < 8; child++)
            if (fork() == 0)
                return use_epoll() ? 0 : 97;
        int ended;
        while (wait(&ended) > 0)
            if (ended != 0)
                return 96;
    }
    if (!use_epoll())
        return 95;
    if (strcmp(how, "elsewhere") == 0 && chdir("/") != 0)
        return 92;
    if (strcmp(how, "_exit") == 0)
        _exit(status);
    if (strcmp(how, "thread") == 0) {
        pthread_t thread;
        pthread_attr_t attributes;
        pthread_attr_init(&attributes);
        pthread_attr_setstacksize(&attributes, (size_t)sysconf(_SC_THREAD_STACK_MIN));
        if (pthread_create(&thread, &attributes, end_thread, NULL) != 0)
            return 94;
        pthread_join(thread, NULL);
    }
    if (strcmp(how, "handler") == 0) {
        stack_t stack = {.ss_sp = malloc(8192), .ss_size = 8192};
        struct sigaction action = {.sa_handler = end_handler, .sa_flags = SA_ONSTACK};
        if (sigaltstack(&stack, NULL) == 0 && sigaction(SIGUSR1, &action, NULL) == 0)
            raise(SIGUSR1);
        return 93;
    }
    return status;
}
