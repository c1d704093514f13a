// Daemons close whatever may be open when they start. No close of such a sweep is a second close,
// whatever it hits, and a thread that later closes what a sweep has closed causes no finding. An
// argument says how it is done; list: a loop closes three files, each of which was open, and one is
// closed again (HERE): that is no sweep.
#include "../finding.h"

static void sweep(int from, int to, int kept)
{
    int step = from < to ? 1 : -1;
    for (int fd = from; fd != to + step; fd += step)
        if (fd != kept)
            close(fd);
}

int main(int count, char **arguments)
{
    const char *how = count > 1 ? arguments[1] : "";
    int fds[3];
    for (int i = 0; i < 3; i++)
        fds[i] = open("/dev/null", O_RDONLY | O_CLOEXEC);
    must(fds[0] == 3 && fds[2] == 5, "the lowest numbers");
    if (strcmp(how, "first") == 0)
        close(3), sweep(3, 40, -1);
    else if (strcmp(how, "middle") == 0)
        close(4), sweep(3, 40, -1);
    else if (strcmp(how, "down") == 0)
        close(4), sweep(40, 3, -1);
    else if (strcmp(how, "last") == 0)
        // What is kept lies before the closed one.
        dup2(3, 20), close(20), sweep(3, 20, 19);
    else if (strcmp(how, "last_down") == 0)
        close(3), sweep(40, 3, 4);
    else if (strcmp(how, "owner_first") == 0)
        sweep(3, 40, -1), close(3);
    else if (strcmp(how, "owner_last") == 0)
        sweep(40, 3, -1), close(3);
    else if (strcmp(how, "list") == 0) {
        for (int i = 0; i < 3; i++)
            close(fds[i]);
        close(fds[1]); /* HERE */
    }
    // The last one stays in some of them.
    close_range(3, 40, 0);
    return found(-1, 4);
}
