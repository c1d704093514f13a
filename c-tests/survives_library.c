/* Leaks descriptors from a library. */
#include <sys/socket.h>
#include <unistd.h>

void leak_late(void) {
    for (int i = 0; i < 40; i++) {
        usleep(1000);
        socket(AF_INET, SOCK_STREAM, 0);
    }
}
