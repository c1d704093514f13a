// One request in a hundred leaves its socket open, among twenty that live, and no epoll instance
// watches it. With -DFIXED it is closed.
#include "finding.h"
#include <sys/socket.h>

static int request(void)
{
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0); /* HERE */
    must(fd >= 0, "socket");
    return fd;
}

int main(void)
{
    int last = -1;
    for (int i = 0; i < 20; i++)
        request();
    for (int i = 0; i < 12000; i++) {
        int fd = request();
        // So that the end of the program is no standstill, on however busy a machine.
        if (i % 10 == 0)
            usleep(200);
#ifndef FIXED
        if (i % 100 == 99) {
            last = fd;
            continue;
        }
#endif
        close(fd);
    }
    return found(-1, last);
}
