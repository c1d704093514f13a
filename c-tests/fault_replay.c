/* Calls whose results are printed, an errno or 0 each. They come from four threads, whose first
 * calls are made one after the other and whose other calls race.
 *
 * fork     those of a parent and then, before the parent continues, of its child
 * full     without a free descriptor
 * killed   then kills itself */
#include "check.h"

enum { THREADS = 4, CALLS = 200 };
static int epfd, results[THREADS][CALLS];
static pthread_barrier_t begun[THREADS];

static void call(int *of, int i) {
    struct epoll_event event;
    errno = 0;
    of[i] = i % 2 ? (close(-1), errno) : epoll_wait(epfd, &event, 1, 0) == -1 ? errno : 0;
}

static void show(const char *name, const int *of) {
    char line[CALLS * 5 + 32];
    int length = sprintf(line, "%s", name);
    for (int i = 0; i < CALLS; i++) length += sprintf(line + length, " %d", of[i]);
    line[length++] = '\n';
    if (write(1, line, (size_t)length) != length) _exit(9);
}

static void *rest(void *of) {
    long number = ((int(*)[CALLS])of) - results;
    call(of, 0);
    call(of, 1);
    pthread_barrier_wait(&begun[number]);
    for (int i = 2; i < CALLS; i++) call(of, i);
    return NULL;
}

int main(int argc, char **argv) {
    const char *mode = argc > 1 ? argv[1] : "";
    epfd = epoll_create1(EPOLL_CLOEXEC);
    if (strcmp(mode, "threads") == 0) {
        pthread_t threads[THREADS];
        for (int i = 0; i < THREADS; i++) {
            pthread_barrier_init(&begun[i], NULL, 2);
            pthread_create(&threads[i], NULL, rest, results[i]);
            pthread_barrier_wait(&begun[i]);
        }
        for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
        for (int i = 0; i < THREADS; i++) show("thread", results[i]);
        return 0;
    }
    if (strcmp(mode, "full") == 0) {
        struct rlimit limit = {.rlim_cur = (rlim_t)epfd + 1, .rlim_max = (rlim_t)epfd + 1};
        setrlimit(RLIMIT_NOFILE, &limit);
    }
    for (int i = 0; i < CALLS; i++) call(results[0], i);
    if (strcmp(mode, "fork") == 0) {
        pid_t child = fork();
        if (child == 0) {
            for (int i = 0; i < CALLS; i++) call(results[1], i);
            show("child", results[1]);
            _exit(0);
        }
        if (waitpid(child, NULL, 0) != child) return 1;
        for (int i = 0; i < CALLS; i++) call(results[1], i);
        show("later", results[1]);
    }
    show("main", results[0]);
    if (strcmp(mode, "killed") == 0) kill(getpid(), SIGKILL);
    return 0;
}
