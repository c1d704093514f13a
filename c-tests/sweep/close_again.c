/* A close that fails is retried later, and closes whatever has the number by then. */
#include "event_loop.h"

int main(void) {
    int old = open("old", O_CREAT | O_WRONLY, 0600);
    if (old < 0)
        return perror("old"), 1;
    int failed = close(old);
    int file = open("saved", O_CREAT | O_WRONLY, 0600);
    if (file < 0)
        return perror("saved"), 1;
    if (failed)
        close(old);
    if (write(file, "precious", 8) == 8)
        puts("saved");
    return 0;
}
