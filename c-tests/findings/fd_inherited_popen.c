// popen closes the streams of earlier calls in its child; system does not. With -DFIXED they have
// close-on-exec.
#include "finding.h"

#ifdef FIXED
#define MODE "re"
#else
#define MODE "r"
#endif

int main(void)
{
    FILE *one = popen("sleep 0.1", MODE); /* HERE */
    FILE *other = popen("true", MODE);
    must(one != NULL && other != NULL, "popen");
    pclose(other);
    int fd = fileno(one);
#ifndef NO_SYSTEM
    must(system("true") == 0, "system"); /* OTHER */
#endif
    pclose(one);
    return found(-1, fd);
}
