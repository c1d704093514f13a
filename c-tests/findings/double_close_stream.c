// A descriptor is closed, and then the stream that owns it. With -DFIXED only the stream is closed.
#include "finding.h"

int main(void)
{
    FILE *file = fopen("/dev/null", "r");
    must(file != NULL, "fopen");
    int fd = fileno(file);
#ifndef FIXED
    must(close(fd) == 0, "close"); /* OTHER */
#endif
    fclose(file); /* HERE */
    return found(-1, fd);
}
