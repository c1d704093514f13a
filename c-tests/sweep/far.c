/* null_loop.c with a gap between segments: use -no-pie -Wl,--section-start=.far=0x900000. */
#include "event_loop.h"

__attribute__((section(".far"), noinline)) static int *make_far(void) {
    static int loop;
    loop = epoll_create1(0);
    return loop < 0 ? NULL : &loop;
}

int main(void) {
    connect_ends();
    int *volatile loop = make_far();
    if (watch(*loop, ends[0]) != 0) {
        perror("watch");
        return 1;
    }
    puts("watching");
    return 0;
}
