/* Servers at their limit of descriptors, which is also the hard limit. "sockets": sockets leak, and
 * the loop goes on (libevent 1089). "accept": accept fails with EMFILE, and the listener stays
 * ready (bun 32705). "closed": connections are not closed after the client has closed them, and
 * accept fails with EMFILE. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define LIMIT 64

static int epfd, listener;
static struct sockaddr_in address = {.sin_family = AF_INET};

static void add(int fd) {
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &event);
}

static int listen_on_loopback(void) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    socklen_t length = sizeof address;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (bind(fd, (void *)&address, length) != 0 || listen(fd, 128) != 0) exit(9);
    getsockname(fd, (void *)&address, &length);
    return fd;
}

/* Connects more often than the server has numbers. Where `closes`, each connection ends at once. */
static pid_t start_client(int closes) {
    pid_t client = fork();
    if (client != 0) return client;
    for (int i = 0; i < LIMIT + 20; i++) {
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        if (connect(fd, (void *)&address, sizeof address) != 0) break;
        if (closes) close(fd);
    }
    if (!closes) pause();
    _exit(0);
}

int main(int count, char **words) {
    const char *mode = count > 1 ? words[1] : "sockets";
    struct rlimit limit = {LIMIT, LIMIT};
    pid_t client = 0;
    int is_server = strcmp(mode, "sockets") != 0, is_closed = strcmp(mode, "closed") == 0;
    if (is_server) {
        listener = listen_on_loopback();
        client = start_client(is_closed);
    }
    setrlimit(RLIMIT_NOFILE, &limit);
    epfd = epoll_create1(EPOLL_CLOEXEC);
    if (is_server) add(listener);
    for (int i = 0, failed = 0; failed < (strcmp(mode, "accept") == 0 ? 2000 : 5) && i < 20000; i++) {
        struct epoll_event events[16];
        int ready = epoll_wait(epfd, events, 16, is_server ? 100 : 0);
        if (!is_server && socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0) < 0) failed++;
        for (int at = 0; at < ready; at++) {
            int fd = events[at].data.fd;
            char bytes[64];
            if (fd != listener) {
                if (read(fd, bytes, sizeof bytes) <= 0) epoll_ctl(epfd, EPOLL_CTL_DEL, fd, NULL);
                continue;
            }
            int accepted = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
            if (accepted >= 0) add(accepted);
            else if (errno == EMFILE) failed++;
        }
    }
    if (is_server) {
        kill(client, SIGTERM);
        waitpid(client, NULL, 0);
    }
    return 0;
}
