/* Descriptors of many kinds, and what the kernel says about each. Prints a line `NAME FD TARGET`
 * for each, where TARGET is the link in /proc, and for sockets LOCAL and PEER from getsockname and
 * getpeername.
 *
 * descriptions open [kill|full]       leaves all of them open; ends by SIGKILL; or takes all
 *                                     numbers first
 * descriptions ghost|stale|double     causes that finding, and closes everything */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <unistd.h>

static int must(int result, const char *what)
{
    if (result < 0) {
        fprintf(stderr, "%s: %s\n", what, strerror(errno));
        exit(1);
    }
    return result;
}

static void show(const char *name, int fd)
{
    char link[64], target[512] = "", text[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    must(readlink(link, target, sizeof target - 1), link);
    printf("%s %d %s", name, fd, target);
    for (int peer = 0; peer < 2; peer++) {
        struct sockaddr_storage address;
        socklen_t length = sizeof address;
        if ((peer ? getpeername : getsockname)(fd, (void *)&address, &length))
            continue;
        if (address.ss_family == AF_INET) {
            struct sockaddr_in *of = (void *)&address;
            printf(" %s:%d", inet_ntop(AF_INET, &of->sin_addr, text, sizeof text), ntohs(of->sin_port));
        } else if (address.ss_family == AF_INET6) {
            struct sockaddr_in6 *of = (void *)&address;
            printf(" [%s]:%d", inet_ntop(AF_INET6, &of->sin6_addr, text, sizeof text), ntohs(of->sin6_port));
        }
    }
    printf("\n");
}

/* A listening socket, a connection to it, and the connection's other end. */
static void connected(int family, int fds[3])
{
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    struct sockaddr *address = family == AF_INET ? (void *)&v4 : (void *)&v6;
    socklen_t length = family == AF_INET ? sizeof v4 : sizeof v6;
    fds[0] = must(socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket");
    must(bind(fds[0], address, length), "bind");
    must(listen(fds[0], 9), "listen");
    must(getsockname(fds[0], address, &length), "getsockname");
    fds[1] = must(socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket");
    must(connect(fds[1], address, length), "connect");
    fds[2] = must(accept4(fds[0], NULL, NULL, SOCK_CLOEXEC), "accept4");
}

static int named(int type, const char *path, int is_abstract)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = must(socket(AF_UNIX, type | SOCK_CLOEXEC, 0), "socket");
    strcpy(address.sun_path + is_abstract, path);
    must(bind(fd, (void *)&address, offsetof(struct sockaddr_un, sun_path) + is_abstract + strlen(path)), "bind");
    return fd;
}

static void open_all(void)
{
    int fds[3], pair[2];
    connected(AF_INET, fds);
    show("v4-listener", fds[0]);
    show("v4-client", fds[1]);
    show("v4-server", fds[2]);
    connected(AF_INET, fds);
    must(close(fds[1]), "close");
    close(fds[0]);
    /* The other end's FIN has arrived when there is nothing more to read. */
    char byte;
    must(read(fds[2], &byte, 1), "read");
    show("v4-half", fds[2]);
    connected(AF_INET6, fds);
    show("v6-listener", fds[0]);
    show("v6-client", fds[1]);
    show("v6-server", fds[2]);
    fds[0] = must(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), "socket");
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    must(bind(fds[0], (void *)&any, sizeof any), "bind");
    show("udp", fds[0]);
    fds[0] = named(SOCK_STREAM, "stream.sock", 0);
    must(listen(fds[0], 5), "listen");
    show("unix-listener", fds[0]);
    show("unix-dgram", named(SOCK_DGRAM, "dgram.sock", 0));
    char name[64];
    snprintf(name, sizeof name, "epollshim-test-%d", getpid());
    show("unix-abstract", named(SOCK_STREAM, name, 1));
    must(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), "socketpair");
    show("unix-pair", pair[0]);
    show("file", must(open("kept file.txt", O_CREAT | O_RDWR | O_CLOEXEC, 0600), "open"));
    show("odd-file", must(open("odd (deleted)", O_CREAT | O_RDWR | O_CLOEXEC, 0600), "open"));
    fds[0] = must(open("gone.txt", O_CREAT | O_RDWR | O_CLOEXEC, 0600), "open");
    must(unlink("gone.txt"), "unlink");
    show("deleted", fds[0]);
    show("memfd", must(memfd_create("a memfd", MFD_CLOEXEC), "memfd_create"));
    must(pipe2(pair, O_CLOEXEC), "pipe2");
    show("pipe", pair[0]);
    for (int i = 0; i < 12; i++) {
        fds[0] = must(eventfd(0, EFD_CLOEXEC), "eventfd");
        if (i == 0)
            show("eventfd", fds[0]);
    }
    show("timerfd", must(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC), "timerfd_create"));
    show("directory", must(open(".", O_DIRECTORY | O_CLOEXEC), "open"));
    show("null", must(open("/dev/null", O_RDWR | O_CLOEXEC), "open"));
    show("pty", must(posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC), "posix_openpt"));
    show("epoll", must(epoll_create1(EPOLL_CLOEXEC), "epoll_create1"));
}

__attribute__((noinline)) static int fail_deeply(int epfd, int fd)
{
    int result = epoll_ctl(epfd, EPOLL_CTL_DEL, fd, NULL); /* DEEP */
    __asm__ volatile("" ::: "memory");
    return result;
}

/* Closes a connection that a dup keeps alive while it is watched. */
static void leave_ghost(int is_stale)
{
    int fds[3];
    struct epoll_event event = {.events = EPOLLIN};
    int epfd = must(epoll_create1(EPOLL_CLOEXEC), "epoll_create1");
    connected(AF_INET, fds);
    show("watched", fds[2]);
    must(epoll_ctl(epfd, EPOLL_CTL_ADD, fds[2], &event), "ADD");
    int other = must(dup(fds[2]), "dup");
    must(close(fds[2]), "close"); /* CLOSE */
    must(epoll_wait(epfd, &event, 1, 0), "epoll_wait");
    if (is_stale) {
        int number = must(eventfd(0, EFD_CLOEXEC), "eventfd");
        if (number != fds[2])
            exit(1);
        event = (struct epoll_event){.events = EPOLLIN};
        must(epoll_ctl(epfd, EPOLL_CTL_ADD, number, &event), "ADD again");
        must(epoll_wait(epfd, &event, 1, 0), "epoll_wait");
        must(close(number), "close");
    } else if (fail_deeply(epfd, fds[2]) != -1)
        exit(1);
    must(close(other), "close");
    must(close(fds[0]), "close");
    must(close(fds[1]), "close");
    must(close(epfd), "close");
}

static void close_twice(void)
{
    /* A recording begins with the first epoll call. */
    must(close(must(epoll_create1(EPOLL_CLOEXEC), "epoll_create1")), "close");
    int fd = must(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket"); /* MADE */
    must(close(fd), "close"); /* FIRST */
    close(fd); /* AGAIN */
}

int main(int count, char **arguments)
{
    const char *mode = count > 1 ? arguments[1] : "open";
    const char *how = count > 2 ? arguments[2] : "";
    if (!strcmp(mode, "open"))
        open_all();
    else if (!strcmp(mode, "double"))
        close_twice();
    else
        leave_ghost(!strcmp(mode, "stale"));
    fflush(stdout);
    if (!strcmp(how, "full")) {
        struct rlimit limit = {.rlim_cur = 64, .rlim_max = 64};
        must(setrlimit(RLIMIT_NOFILE, &limit), "setrlimit");
        while (open("/dev/null", O_RDONLY | O_CLOEXEC) >= 0)
            ;
    }
    if (!strcmp(how, "kill"))
        raise(SIGKILL);
    return 0;
}
