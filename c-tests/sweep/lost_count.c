/* A count includes an ADD that then fails: the loop waits for an event that never arrives. Hang. */
#include "event_loop.h"

int main(void) {
    connect_ends();
    int loop = new_loop(), expected = 0;
    for (int i = 0; i < 2; i++) {
        int copy = dup(ends[0]);
        if (copy < 0) {
            perror("dup");
            return 1;
        }
        expected++;
        if (watch(loop, copy) != 0) {
            perror("skipped");
            close(copy);
        }
    }
    give("xy");
    while (expected > 0) {
        struct epoll_event event;
        if (epoll_wait(loop, &event, 1, -1) != 1)
            continue;
        char byte;
        if (read(event.data.fd, &byte, 1) != 1)
            return 1;
        epoll_ctl(loop, EPOLL_CTL_DEL, event.data.fd, NULL);
        close(event.data.fd);
        expected--;
    }
    puts("both served");
    return 0;
}
