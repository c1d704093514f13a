// A descriptor is closed when it is no longer needed, and once more at the end of the function.
// With -DFIXED the second close is left out, and a sweep closes numbers that are not open, as
// daemons do.
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
