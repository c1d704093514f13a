/* It gives up with a message but with status 0: its caller does not notice. */
#include "event_loop.h"

int main(void) {
    connect_ends();
    int loop = epoll_create1(0);
    if (loop < 0) {
        fprintf(stderr, "there is no epoll here\n");
        return 0;
    }
    if (watch(loop, ends[0]) != 0)
        return 1;
    puts("all done");
    return 0;
}
