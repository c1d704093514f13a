// Makes the calls that a line of its input asks for, and prints the result. Between two lines it
// makes no calls.
//   a    epoll_ctl ADD of an eventfd, and DEL if that succeeded: 0, or the errno
//   m N  N times epoll_ctl MOD: the total number of its epoll calls
//   b    epoll_wait for the next line, without a timeout: its result
//   l    leaves an interest behind, and closes its descriptor without the shim seeing it: 0
//   f    forks; the child handles the remaining lines, and the parent waits for it: the child's pid
//   x    execs itself: its pid
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

static long calls;

int main(int count, char **arguments) {
    (void)count;
    setvbuf(stdin, NULL, _IONBF, 0);
    setvbuf(stdout, NULL, _IOLBF, 0);
    int epfd = epoll_create1(EPOLL_CLOEXEC), fd = eventfd(0, EFD_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN}, got;
    epoll_ctl(epfd, EPOLL_CTL_ADD, 0, &event);
    calls = 2;
    printf("%d\n", getpid());
    char line[64];
    while (fgets(line, sizeof line, stdin)) {
        int result = 0;
        switch (line[0]) {
        case 'a':
            calls++;
            result = epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &event) ? errno : 0;
            if (result == 0) calls++, epoll_ctl(epfd, EPOLL_CTL_DEL, fd, NULL);
            printf("%d\n", result);
            break;
        case 'm':
            for (int left = atoi(line + 2); left > 0; left--) calls++, epoll_ctl(epfd, EPOLL_CTL_MOD, 0, &event);
            printf("%ld\n", calls);
            break;
        case 'b':
            printf("waiting\n");
            calls++;
            printf("%d\n", epoll_wait(epfd, &got, 1, -1));
            break;
        case 'l': {
            int other = eventfd(0, EFD_CLOEXEC);
            FILE *file = fdopen(other, "r");
            calls++;
            epoll_ctl(epfd, EPOLL_CTL_ADD, other, &event);
            fclose(file);
            printf("0\n");
            break;
        }
        case 'f': {
            int child = fork();
            if (child) {
                waitpid(child, NULL, 0);
                return 0;
            }
            printf("%d\n", getpid());
            break;
        }
        case 'x': execv("/proc/self/exe", arguments); return 1;
        }
    }
    return 0;
}
