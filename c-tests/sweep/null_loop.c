/* The constructor's null pointer is used without a check: crash. */
#include "event_loop.h"

struct loop {
    int descriptor;
};

static struct loop *make(void) {
    struct loop *loop = malloc(sizeof *loop);
    if (loop == NULL)
        return NULL;
    loop->descriptor = epoll_create1(0);
    if (loop->descriptor < 0) {
        free(loop);
        return NULL;
    }
    return loop;
}

int main(void) {
    connect_ends();
    struct loop *volatile loop = make();
    if (watch(loop->descriptor, ends[0]) != 0) {
        perror("watch");
        return 1;
    }
    puts("watching");
    return 0;
}
