/* The result of a failed call is used as an index: compile with -fsanitize=undefined. */
#include "event_loop.h"

static int uses[64];

int main(void) {
    connect_ends();
    int copy = dup(ends[0]);
#ifdef FIXED
    if (copy < 0) {
        perror("dup");
        return 1;
    }
#endif
    uses[copy]++;
    puts("counted");
    return 0;
}
