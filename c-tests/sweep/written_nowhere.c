/* A log that could not be opened is still written, to descriptor -1: the file is missing, without a
 * message. */
#include "event_loop.h"

int main(void) {
    int log = open("log", O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
#ifdef FIXED
    if (log < 0) {
        perror("log");
        return 1;
    }
#endif
    if (write(log, "precious\n", 9) != 9)
        errno = 0;
    close(log);
    puts("logged");
    return 0;
}
