/* Leaves descriptors of many kinds open, by system calls and by a stream, and closes others. The
 * census must list what `valgrind --track-fds=yes` lists at the end. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

int main(void)
{
    int pair[2], ends[2], kept[8], count = 0;
    kept[count++] = open("/dev/null", O_RDONLY);
    kept[count++] = openat(AT_FDCWD, "/", O_RDONLY | O_DIRECTORY);
    kept[count++] = socket(AF_INET, SOCK_STREAM, 0);
    kept[count++] = eventfd(0, 0);
    kept[count++] = timerfd_create(CLOCK_MONOTONIC, 0);
    kept[count++] = memfd_create("kept", 0);
    kept[count++] = epoll_create1(0);
    kept[count++] = dup(kept[0]);
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) || pipe(ends))
        return 1;
    /* Two files each, so that the numbers move on. */
    for (int i = 0; i < 50; i++)
        close(open("/dev/null", O_RDONLY));
    close(pair[0]);
    close(ends[1]);
    dup2(kept[2], kept[3]);
    close(kept[5]);
    if (fcntl(ends[0], F_DUPFD, 100) < 0)
        return 1;
    return fopen("/dev/null", "r") == NULL;
}
