// A server starts a helper, which inherits the listening socket. With -DFIXED the socket has
// close-on-exec. The helper is meant to have a pipe at number 3, which the child put there, and one
// from which close-on-exec was removed.
#include "finding.h"
#include <sys/socket.h>
#include <sys/wait.h>

int main(void)
{
    int fd = -1, status;
#ifdef FIXED
    int type = SOCK_STREAM | SOCK_CLOEXEC, pair[2], kept;
    must(pipe2(pair, O_CLOEXEC) == 0, "pipe2");
    kept = eventfd(0, EFD_CLOEXEC);
    must(fcntl(kept, F_SETFD, 0) == 0, "F_SETFD");
#else
    int type = SOCK_STREAM;
#endif
    fd = socket(AF_UNIX, type, 0); /* HERE */
    must(fd >= 0, "socket");
    pid_t child = vfork();
    if (child == 0) {
#ifdef FIXED
        dup2(pair[1], 30);
#endif
        execl("/bin/true", "true", (char *)NULL); /* OTHER */
        _exit(127);
    }
    must(waitpid(child, &status, 0) == child && status == 0, "the helper");
    return found(-1, fd);
}
