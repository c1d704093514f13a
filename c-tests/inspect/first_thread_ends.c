/* The first thread ends, and another one goes on: the kernel calls the process a zombie, though it
 * runs. */
#include "stuck.h"

static void *waits(void *unused) {
    struct epoll_event event;
    char path[64], state = 0;
    int epfd = epoll_create1(EPOLL_CLOEXEC);
    (void)unused;
    snprintf(path, sizeof path, "/proc/self/task/%d/stat", (int)getpid());
    while (state != 'Z') {
        FILE *stat = fopen(path, "re");
        if (stat == NULL || fscanf(stat, "%*d %*s %c", &state) != 1) abort();
        fclose(stat);
    }
    is_ready(epfd);
    for (;;) epoll_wait(epfd, &event, 1, -1);
    return NULL;
}

int main(void) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, waits, NULL) != 0) abort();
    pthread_exit(NULL);
}
