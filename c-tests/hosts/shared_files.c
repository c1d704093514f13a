/* Many instances watch the same descriptors; then all of them are closed. The cost must grow with
 * the number of interests, in whatever order it happens, also if the library tracks each of them.
 * Arguments: how many instances, how many descriptors, and how they are closed. Prints the
 * processor time of the end in microseconds. */
#include "../check.h"

static int instances, files;
static int *epfd, *order, fd[1000];
static struct timespec began;

static unsigned state = 1;
static unsigned pick(unsigned bound) { return (state = state * 1103515245u + 12345u) / 65536u * 32768u % bound; }

static long microseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (now.tv_sec - began.tv_sec) * 1000000 + (now.tv_nsec - began.tv_nsec) / 1000;
}

static void print_at_exit(void) { say("microseconds %ld\n", microseconds()); }

static void delete_all(int backward) {
    for (int j = 0; j < files; j++) {
        for (int i = 0; i < instances; i++) {
            int at = backward ? instances - 1 - i : order[i];
            if (epoll_ctl(epfd[at], EPOLL_CTL_DEL, fd[j], NULL) != 0) checks_failed = 1;
        }
    }
}

int main(int count, char **arguments) {
    instances = count > 1 ? atoi(arguments[1]) : 100;
    files = count > 2 ? atoi(arguments[2]) : 100;
    const char *how = count > 3 ? arguments[3] : "forward";
    struct rlimit limit;
    struct epoll_event event = {.events = EPOLLIN};
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    epfd = calloc((size_t)instances, sizeof *epfd);
    order = calloc((size_t)instances, sizeof *order);
    for (int j = 0; j < files; j++) fd[j] = eventfd(0, 0);
    for (int i = 0; i < instances; i++) {
        epfd[i] = epoll_create1(0);
        order[i] = i;
        if (epfd[i] < 0) return 77;
        for (int j = 0; j < files; j++) {
            if (epoll_ctl(epfd[i], EPOLL_CTL_ADD, fd[j], &event) != 0) return 77;
        }
    }
    for (int i = instances - 1; i > 0; i--) {
        int at = (int)pick((unsigned)i + 1), swapped = order[i];
        order[i] = order[at];
        order[at] = swapped;
    }
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &began);
    if (strcmp(how, "forward") == 0) {
        for (int i = 0; i < instances; i++) close(epfd[i]);
    } else if (strcmp(how, "backward") == 0) {
        for (int i = instances; i-- > 0;) close(epfd[i]);
    } else if (strcmp(how, "random") == 0) {
        for (int i = 0; i < instances; i++) close(epfd[order[i]]);
    } else if (strcmp(how, "range") == 0) {
        close_range((unsigned)epfd[0], ~0u, 0);
    } else if (strcmp(how, "dup2") == 0) {
        for (int i = 0; i < instances; i++) dup2(2, epfd[order[i]]);
    } else if (strcmp(how, "files") == 0) {
        for (int j = 0; j < files; j++) close(fd[j]);
    } else if (strcmp(how, "delete") == 0) {
        delete_all(0);
    } else if (strcmp(how, "delete-backward") == 0) {
        delete_all(1);
    } else if (strcmp(how, "again") == 0) {
        for (int i = 0; i < instances; i++) {
            for (int j = 0; j < files; j++) {
                if (epoll_ctl(epfd[order[i]], EPOLL_CTL_ADD, fd[j], &event) == 0 || errno != EEXIST) checks_failed = 1;
            }
        }
    } else if (strcmp(how, "child") == 0) {
        /* A child has a ledger of its own, with the same instances under several numbers. */
        for (int i = 0; i < instances; i++) epfd[i] = dup(epfd[i]);
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &began);
        pid_t child = fork();
        if (child == 0) {
            clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &began);
            for (int j = 0; j < files; j++) epoll_ctl(epfd[0], EPOLL_CTL_DEL, fd[j], NULL);
            print_at_exit();
            _exit(checks_failed);
        }
        int status;
        waitpid(child, &status, 0);
        return WEXITSTATUS(status);
    } else {
        return 2;
    }
    print_at_exit();
    return checks_failed;
}
