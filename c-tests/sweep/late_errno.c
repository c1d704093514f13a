/* It reads errno after other calls have changed it, and takes a shortage for something impossible:
 * abort. */
#include "event_loop.h"

int main(void) {
    connect_ends();
    int copy = dup(ends[0]);
    if (copy < 0) {
        int error = errno;
        unlink("old/cache");
#ifndef FIXED
        error = errno;
#endif
        if (error == EMFILE || error == ENFILE) {
            fprintf(stderr, "no descriptor is left\n");
            return 1;
        }
        abort();
    }
    puts("copied");
    return 0;
}
