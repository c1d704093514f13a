/* Every failure ends the program with a message and status 1. */
#include "event_loop.h"

int main(void) {
    connect_ends();
    int loop = new_loop();
    if (watch(loop, ends[0]) != 0) {
        perror("watch");
        return 1;
    }
    give("x");
    printf("took %c\n", take(loop));
    close(loop);
    return 0;
}
