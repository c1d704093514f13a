/* creators DIRECTORY: calls each function that creates descriptors, and close, dup and fcntl, three
 * times. Prints for each call the name of the function, and 0 for success or the errno. Before that
 * it prints SIGUSR1 for each of these signals that arrived. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/fanotify.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <unistd.h>

static volatile sig_atomic_t handled;
static void on_signal(int number) {
    (void)number;
    handled++;
}

/* Each line is one write(2): stdio might open something. */
static void result(const char *name, long returned) {
    char line[96];
    int error = returned < 0 ? errno : 0;
    for (; handled > 0; handled--)
        if (write(1, "SIGUSR1\n", 8) != 8) _exit(3);
    int length = snprintf(line, sizeof line, "%s %d\n", name, error);
    if (write(1, line, (size_t)length) != length) _exit(3);
}

#define MAKE(name, call) (errno = 0, result(name, (long)(call)))

static int listener(void) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (fd < 0) return -1;
    if (bind(fd, (struct sockaddr *)&address, sizeof address.sun_family) != 0 || listen(fd, 64) != 0) return -1;
    return fd;
}

static void queue_a_client(int to) {
    struct sockaddr_un address;
    socklen_t length = sizeof address;
    int fd = (int)syscall(SYS_socket, AF_UNIX, SOCK_STREAM, 0);
    if (getsockname(to, (struct sockaddr *)&address, &length) == 0 && fd >= 0) connect(fd, (struct sockaddr *)&address, length);
}

int main(int count, char **arguments) {
    const char *directory = count > 1 ? arguments[1] : ".";
    char path[4096], template[4096];
    sigset_t mask;
    sigemptyset(&mask);
    sigaddset(&mask, SIGUSR2);
    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGUSR1, &action, NULL);
    int server = listener();
    snprintf(path, sizeof path, "%s/made", directory);
    for (int round = 0; round < 3; round++) {
        int pair[2], sockets[2];
        char bytes[8] = "";
        struct iovec part = {bytes, sizeof bytes};
        struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
        struct mmsghdr messages = {.msg_hdr = message};
        MAKE("open", open("/dev/null", O_RDONLY));
        MAKE("open64", open64("/dev/null", O_RDONLY | O_CLOEXEC));
        MAKE("openat", openat(AT_FDCWD, "/dev/null", O_RDONLY));
        MAKE("creat", creat(path, 0600));
        snprintf(template, sizeof template, "%s/XXXXXX", directory);
        MAKE("mkstemp", mkstemp(template));
        snprintf(template, sizeof template, "%s/XXXXXX", directory);
        MAKE("mkostemp", mkostemp(template, O_CLOEXEC));
        MAKE("posix_openpt", posix_openpt(O_RDWR | O_NOCTTY));
        MAKE("socket", socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
        MAKE("socketpair", socketpair(AF_UNIX, SOCK_DGRAM, 0, sockets));
        queue_a_client(server);
        MAKE("accept", accept(server, NULL, NULL));
        queue_a_client(server);
        MAKE("accept4", accept4(server, NULL, NULL, SOCK_CLOEXEC));
        MAKE("pipe", pipe(pair));
        MAKE("pipe2", pipe2(pair, O_CLOEXEC));
        MAKE("eventfd", eventfd(0, EFD_CLOEXEC));
        MAKE("timerfd_create", timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC));
        MAKE("signalfd", signalfd(-1, &mask, SFD_CLOEXEC));
        MAKE("inotify_init", inotify_init());
        MAKE("inotify_init1", inotify_init1(IN_CLOEXEC));
        MAKE("memfd_create", memfd_create("creators", MFD_CLOEXEC));
        int own;
        MAKE("pidfd_open", own = (int)syscall(SYS_pidfd_open, getpid(), 0));
        MAKE("pidfd_getfd", syscall(SYS_pidfd_getfd, own, 1, 0));
        MAKE("fanotify_init", fanotify_init(FAN_CLOEXEC | FAN_REPORT_FID, O_RDONLY));
        MAKE("epoll_create", epoll_create(1));
        MAKE("epoll_create1", epoll_create1(EPOLL_CLOEXEC));
        MAKE("dup", dup(server));
        MAKE("dup2", dup2(server, 900));
        MAKE("dup3", dup3(server, 901, O_CLOEXEC));
        MAKE("fcntl", fcntl(server, F_DUPFD, 100));
        MAKE("F_GETFL", fcntl(server, F_GETFL));
        MAKE("syscall(openat)", syscall(SYS_openat, AT_FDCWD, "/dev/null", O_RDONLY));
        MAKE("syscall(socket)", syscall(SYS_socket, AF_UNIX, SOCK_STREAM, 0));
        if (send(sockets[0], "x", 1, MSG_DONTWAIT) == 1) MAKE("recvmsg", recvmsg(sockets[1], &message, MSG_DONTWAIT));
        if (send(sockets[0], "x", 1, MSG_DONTWAIT) == 1) MAKE("recvmmsg", recvmmsg(sockets[1], &messages, 1, MSG_DONTWAIT, NULL));
    }
    return 0;
}
