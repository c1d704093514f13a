/* It calls abort() where it could have exited with a message. */
#include "event_loop.h"

int main(void) {
    connect_ends();
    int loop = new_loop();
    if (watch(loop, ends[0]) != 0) {
        fprintf(stderr, "cannot watch\n");
        abort();
    }
    puts("watching");
    return 0;
}
