// A descriptor is closed where it is done with, and once more on the way out. With -DFIXED the second is left away; and numbers that
// are not open are closed in a sweep, as daemons do.
#include "finding.h"

int main(void)
{
    int fd = eventfd(0, EFD_CLOEXEC);
    close(fd);
#ifdef FIXED
    for (int i = 3; i < 64; i++)
        close(i);
    for (int i = 63; i >= 3; i--)
        close(i);
    close(-1);
#else
    must(close(fd) == -1 && errno == EBADF, "close"); /* HERE */
#endif
    return found(-1, fd);
}
