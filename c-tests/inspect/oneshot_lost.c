/* pjsip #3018: a one-shot interest whose handler returns without arming it again. The other end
 * continues to write. `ok`: it is armed again. */
#include "stuck.h"

static int is_armed_again;

static void one(int epfd, struct epoll_event *event) {
    char bytes[64];
    struct epoll_event again = interest(EPOLLIN | EPOLLONESHOT, event->data.u64);
    if (!is_armed_again) return;
    if (read(event->data.fd, bytes, sizeof bytes) <= 0) abort();
    epoll_ctl(epfd, EPOLL_CTL_MOD, event->data.fd, &again);
}

static void *writes(void *fd) {
    for (;;) {
        if (write(*(int *)fd, "abc", 3) != 3) abort();
        nap(30);
    }
    return NULL;
}

int main(int argc, char **argv) {
    int from = listening(), client = connected(from), server = accepted(from), epfd = epoll_create1(EPOLL_CLOEXEC);
    pthread_t thread;
    is_armed_again = argc > 1 && strcmp(argv[1], "ok") == 0;
    add(epfd, server, EPOLLIN | EPOLLONESHOT);
    pthread_create(&thread, NULL, writes, &client);
    is_ready(server);
    serve(epfd, one);
}
