// A loop that takes the -1 of its wait for "no events", and waits again. The argument says why the
// wait fails.
#include "finding.h"
#include <sys/syscall.h>

static int is(const char *argument, const char *mode)
{
    return strcmp(argument, mode) == 0;
}

int main(int count, char **arguments)
{
    const char *mode = count > 1 ? arguments[1] : "closed";
    int epfd = epoll_create1(EPOLL_CLOEXEC), other = event(0), room = 8, waits = is(mode, "few") ? 15 : 100;
    int uses_syscall = is(mode, "syscall"), failed = 0, shown;
    struct epoll_event events[8];
    add(epfd, other, EPOLLIN);
    must(epoll_wait(epfd, events, 8, 1) == 0, "epoll_wait");
    shown = epfd;
    if (is(mode, "range")) {
        must(close_range((unsigned)epfd, (unsigned)epfd, 0) == 0, "close_range"); /* RANGE */
    } else if (is(mode, "zero")) {
        shown = epfd = other;
    } else if (is(mode, "room")) {
        room = 0;
    } else if (!is(mode, "ok")) {
        close(epfd); /* CLOSED */
        if (is(mode, "reused"))
            must(event(0) == epfd, "the same number");
    }
    for (int i = 0; i < waits; i++) {
        int result;
        if (uses_syscall)
            result = (int)syscall(SYS_epoll_pwait, epfd, events, room, 1, NULL, 8); /* RAW */
        else
            result = epoll_wait(epfd, events, room, is(mode, "ok") ? 1 : 100); /* HERE */
        failed += result < 0;
        // Between failures that are not consecutive, as after an error that was handled.
        if (is(mode, "now_and_then"))
            must(epoll_wait(other, events, 8, 0) == -1 && errno == EINVAL, "another wait");
    }
    must(failed == (is(mode, "ok") ? 0 : waits), "the waits fail");
    return found(shown, -1);
}
