/* one_wait STATUS [exit|_exit]: one instance, one interest, one wait that finds nothing; then STATUS.
 * With FILE in the environment, what is opened first is that file, and one line is written to it: when
 * descriptor 2 was closed, it is descriptor 2. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    if (argc < 2)
        return 99;
    const char *path = getenv("FILE");
    if (path) {
        int file = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
        if (file == -1 || write(file, "mine\n", 5) != 5)
            return 98;
    }
    int ends[2];
    int epoll = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN};
    if (epoll == -1 || pipe(ends) == -1 || epoll_ctl(epoll, EPOLL_CTL_ADD, ends[0], &event) == -1)
        return 97;
    if (epoll_wait(epoll, &event, 1, 0) != 0)
        return 96;
    if (argc > 2 && strcmp(argv[2], "_exit") == 0)
        _exit(atoi(argv[1]));
    return atoi(argv[1]);
}
