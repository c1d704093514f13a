// One file per request, and none is ever closed. With -DFIXED each is closed when it is no longer
// needed, and a table of a hundred is filled at the start and kept, as caches are.
#include "finding.h"

static int last;

static void request(void)
{
    last = open("/dev/null", O_RDONLY | O_CLOEXEC); /* HERE */
    must(last >= 0, "open");
#ifdef FIXED
    close(last);
#endif
}

int main(void)
{
    int epfd = epoll_create1(EPOLL_CLOEXEC);
#ifdef FIXED
    static int table[100];
    for (int i = 0; i < 100; i++)
        table[i] = eventfd(0, EFD_CLOEXEC);
    must(table[99] >= 0, "eventfd");
    usleep(200000);
#endif
    for (int i = 0; i < 100; i++)
        request();
    close(epfd);
    return found(-1, last);
}
