/* A descriptor whose ADD fails is forgotten, not closed: leak. */
#include "event_loop.h"

int main(void) {
    connect_ends();
    int loop = new_loop();
    for (int i = 0; i < 3; i++) {
        int copy = dup(ends[0]);
        if (copy < 0 || watch(loop, copy) != 0) {
            perror("skipped");
            continue;
        }
        give("x");
        take(loop);
        epoll_ctl(loop, EPOLL_CTL_DEL, copy, NULL);
        close(copy);
    }
    puts("done");
    return 0;
}
