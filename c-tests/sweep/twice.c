/* The helper that fails closes what its caller closes again. No other file has taken the number
 * meanwhile, this time. */
#include "event_loop.h"

static int start(int loop) {
    if (watch(loop, ends[0]) == 0)
        return 0;
    perror("watch");
#ifndef FIXED
    close(loop);
#endif
    return -1;
}

int main(void) {
    connect_ends();
    int loop = new_loop();
    if (start(loop) != 0) {
        close(loop);
        return 1;
    }
    close(loop);
    puts("watching");
    return 0;
}
