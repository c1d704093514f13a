/* Epoll calls in all kinds of trouble that the log may meet. What it prints must not depend on
 * whether there is a log (tests/log.rs). Exits with 7. Each word of the command line is a step:
 *
 * calls=N        an ADD, N waits that each return an event, a failing MOD, a DEL
 * descriptors    lists /proc/self/fd between calls
 * full-table     calls while no descriptor is left
 * small-files    calls while no file may grow beyond 2,500 bytes
 * no-stderr      closes descriptor 2, and makes a socket take its number
 * other-stderr   makes descriptor 2 a socket
 * chdir=DIR      changes to that directory
 * unlink=FILE    removes it
 * forks=N        N children make calls at the same time
 * name=NAME      renames the process (PR_SET_NAME)
 * exec           executes this program again, with the words that follow
 * masks=N        N waits with a full mask and 16 events: long lines */
#include "check.h"

#include <sys/prctl.h>

static void calls(int count) {
    struct epoll_event event = interest(EPOLLIN, 5), got;
    int epfd = WORKS(epoll_create1(EPOLL_CLOEXEC)), fd = eventfd(1, EFD_CLOEXEC);
    GIVES(epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &event), 0);
    for (int i = 0; i < count; i++) {
        errno = SENTINEL;
        QUIETLY(epoll_wait(epfd, &got, 1, i % 2 ? -1 : 0) == 1 && errno == SENTINEL && got.data.u64 == 5);
    }
    FAILS(epoll_ctl(epfd, EPOLL_CTL_MOD, epfd, &event), EINVAL);
    GIVES(epoll_ctl(epfd, EPOLL_CTL_DEL, fd, NULL), 0);
    GIVES(close(fd), 0);
    GIVES(close(epfd), 0);
}

static void list(void) {
    char line[256] = "";
    for (int fd = 0; fd < 200; fd++) {
        if (fcntl(fd, F_GETFD) != -1) sprintf(line + strlen(line), " %d", fd);
    }
    say("descriptors%s\n", line);
    DIR *directory = opendir("/proc/self/fd");
    int count = 0;
    while (directory != NULL && readdir(directory) != NULL) count++;
    if (directory != NULL) closedir(directory);
    say("entries %d\n", count);
}

static void descriptors(void) {
    struct epoll_event event = interest(EPOLLIN, 5), got;
    struct timespec zero = {0, 0};
    list();
    int epfd = WORKS(epoll_create(8)), fd = WORKS(eventfd(1, 0)), copy;
    list();
    GIVES(epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &event), 0);
    list();
    GIVES(epoll_wait(epfd, &got, 1, 10), 1);
    GIVES(epoll_pwait(epfd, &got, 1, 10, NULL), 1);
    GIVES(epoll_pwait2(epfd, &got, 1, &zero, NULL), 1);
    list();
    FAILS(epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &event), EEXIST);
    list();
    copy = WORKS(dup(epfd));
    list();
    GIVES(dup2(fd, copy), copy);
    GIVES(close(fd), 0);
    list();
    GIVES(close(copy), 0);
    GIVES(close(epfd), 0);
    list();
}

static void full_table(void) {
    struct rlimit limit, none = {0, 0};
    struct epoll_event got;
    int epfd = WORKS(epoll_create1(0));
    getrlimit(RLIMIT_NOFILE, &limit);
    none.rlim_max = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &none);
    for (int i = 0; i < 20; i++) GIVES(epoll_wait(epfd, &got, 1, 0), 0);
    FAILS(epoll_create1(0), EMFILE);
    setrlimit(RLIMIT_NOFILE, &limit);
    GIVES(epoll_wait(epfd, &got, 1, 0), 0);
    GIVES(close(epfd), 0);
}

static void stderr_is_a_socket(int closes) {
    int pair[2];
    char byte;
    if (closes) close(2);
    EQUAL(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
    if (!closes) dup2(pair[0], 2);
    EQUAL(fcntl(2, F_GETFD), 0);
    calls(50);
    FAILS(read(pair[1], &byte, 1), EAGAIN);
}

static void forks(int count) {
    for (int i = 0; i < count; i++) {
        if (fork() == 0) {
            struct epoll_event got;
            int epfd = epoll_create1(0);
            for (int j = 0; j < 50; j++) QUIETLY(epoll_wait(epfd, &got, 1, 0) == 0);
            exit(checks_failed);
        }
    }
    for (int i = 0, status; i < count; i++) {
        QUIETLY(wait(&status) > 0 && status == 0);
    }
    say("%d children\n", count);
}

static void masks(int count) {
    struct epoll_event got[16];
    sigset_t half;
    int epfd = epoll_create1(0);
    sigemptyset(&half);
    for (int number = 1; number < 44; number++) sigaddset(&half, number);
    for (int i = 0; i < 16; i++) {
        struct epoll_event event = interest(EPOLLIN | EPOLLOUT | EPOLLRDNORM | EPOLLWRNORM, (uint64_t)-1);
        epoll_ctl(epfd, EPOLL_CTL_ADD, eventfd(1, 0), &event);
    }
    for (int i = 0; i < count; i++) QUIETLY(epoll_pwait(epfd, got, 16, -1, &half) == 16);
    closefrom(3);
    say("%d waits\n", count);
}

int main(int count, char **words) {
    for (int i = 1; i < count; i++) {
        char *value = strchr(words[i], '=');
        value = value == NULL ? words[i] : value + 1;
        if (strncmp(words[i], "calls=", 6) == 0) calls(atoi(value));
        else if (strcmp(words[i], "descriptors") == 0) descriptors();
        else if (strcmp(words[i], "full-table") == 0) full_table();
        else if (strcmp(words[i], "small-files") == 0) {
            struct rlimit limit = {2500, RLIM_INFINITY};
            EQUAL(setrlimit(RLIMIT_FSIZE, &limit), 0);
            calls(100);
            limit.rlim_cur = RLIM_INFINITY;
            EQUAL(setrlimit(RLIMIT_FSIZE, &limit), 0);
        } else if (strcmp(words[i], "no-stderr") == 0) stderr_is_a_socket(1);
        else if (strcmp(words[i], "other-stderr") == 0) stderr_is_a_socket(0);
        else if (strncmp(words[i], "chdir=", 6) == 0) EQUAL(chdir(value), 0);
        else if (strncmp(words[i], "unlink=", 7) == 0) unlink(value);
        else if (strncmp(words[i], "forks=", 6) == 0) forks(atoi(value));
        else if (strncmp(words[i], "name=", 5) == 0) EQUAL(prctl(PR_SET_NAME, value, 0, 0, 0), 0);
        else if (strncmp(words[i], "masks=", 6) == 0) masks(atoi(value));
        else if (strcmp(words[i], "exec") == 0) {
            words[i] = words[0];
            execv("/proc/self/exe", words + i);
        } else {
            say("FAIL: no such step: %s\n", words[i]);
        }
    }
    return verdict() == 0 ? 7 : 1;
}
