/* It retries until it succeeds: a failure that lasts makes it spin. */
#include "event_loop.h"

int main(void) {
    connect_ends();
    int loop = new_loop();
    while (watch(loop, ends[0]) != 0) {
    }
    puts("watching");
    return 0;
}
