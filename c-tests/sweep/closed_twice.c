/* The error path closes the loop's number a second time. By then a file has the number, and what
 * should be saved is lost. */
#include "event_loop.h"

static int start(int loop) {
    if (watch(loop, ends[0]) == 0)
        return 0;
    close(loop);
    return -1;
}

int main(void) {
    connect_ends();
    int loop = new_loop();
    int has_failed = start(loop);
    int file = open("saved", O_CREAT | O_WRONLY, 0600);
    if (file < 0) {
        perror("saved");
        return 1;
    }
    if (has_failed) {
        fprintf(stderr, "without events\n");
        close(loop);
    }
    if (write(file, "precious", 8) != 8 && !has_failed)
        return 1;
    puts("saved");
    return 0;
}
