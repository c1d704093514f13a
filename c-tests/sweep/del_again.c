/* A DEL that fails is retried until it succeeds. But a failed DEL says that there is nothing left
 * to delete. */
#include "event_loop.h"

int main(void) {
    connect_ends();
    int loop = new_loop();
    if (watch(loop, ends[0]) != 0)
        return perror("watch"), 1;
    while (epoll_ctl(loop, EPOLL_CTL_DEL, ends[0], NULL) != 0)
        ;
    puts("done");
    return 0;
}
