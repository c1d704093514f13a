// A loop, and a program that is started by fork and exec and inherits the loop's descriptor. With
// -DFIXED: EPOLL_CLOEXEC.
//
// The argument "vfork": started by vfork. "in-place": the program itself becomes another one.
// "failing": the other program does not exist.
#include "finding.h"
#include <sys/wait.h>

int main(int argc, char **argv)
{
    const char *how = argc > 1 ? argv[1] : "fork";
#ifdef FIXED
    int epfd = epoll_create1(EPOLL_CLOEXEC);
#else
    int epfd = epoll_create1(0); /* HERE */
#endif
    add(epfd, eventfd(1, EFD_CLOEXEC), EPOLLIN);
    if (strcmp(how, "in-place") == 0) {
        found(epfd, -1);
        fflush(stdout);
        execl("/bin/true", "true", (char *)NULL);
        return 4;
    }
    pid_t child = strcmp(how, "vfork") == 0 ? vfork() : fork();
    if (child == 0) {
        execlp(strcmp(how, "failing") == 0 ? "/no/such/program" : "true", "true", (char *)NULL);
        _exit(0);
    }
    int status;
    must(waitpid(child, &status, 0) == child && status == 0, "the child");
    struct epoll_event event;
    must(epoll_wait(epfd, &event, 1, 0) == 1, "epoll_wait");
    return found(epfd, -1);
}
