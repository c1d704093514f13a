/* A daemon that forks twice, closes everything from 0 up, and serves loopback clients on the
 * numbers that it then gets, including 0, 1 and 2. Each client must receive what it sent, then end
 * of file, and not a byte of anything else. */
#include "check.h"

#include <netinet/in.h>
#include <sys/prctl.h>

#define CLIENTS 4

/* The numbers after closefrom(0), by layout: listener and instance first, last (so clients get 0,
 * 1, 2), or shifted. */
static int serve(int layout, const char *port_file, int quits_by) {
    closefrom(0);
    for (int i = 0; i < layout % 3; i++) dup(open("/dev/null", O_RDWR) < 0);
    int listener = socket(AF_INET, SOCK_STREAM, 0), epfd = epoll_create1(EPOLL_CLOEXEC), clients = 0;
    if (layout >= 3) {
        listener = dup2(listener, 70), epfd = dup2(epfd, 71);
        closefrom(72);
        close_range(0, 69, 0);
        if (layout == 5 && (dup2(71, 2) != 2 || close(71) != 0)) return 3;
        if (layout == 5) epfd = 2;
    }
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof here;
    if (bind(listener, (struct sockaddr *)&here, size) != 0 || listen(listener, 16) != 0) return 4;
    if (getsockname(listener, (struct sockaddr *)&here, &size) != 0) return 5;
    char name[128], port[16];
    snprintf(name, sizeof name, "%s.new", port_file);
    int file = open(name, O_WRONLY | O_CREAT | O_EXCL, 0600);
    int length = snprintf(port, sizeof port, "%d\n", ntohs(here.sin_port));
    if (write(file, port, (size_t)length) != length || close(file) != 0 || rename(name, port_file) != 0) return 6;
    if (add(epfd, listener, EPOLLIN) != 0) return 7;
    for (;;) {
        struct epoll_event got[8];
        int count = epoll_wait(epfd, got, 8, 20000);
        if (count <= 0) return 8;
        for (int i = 0; i < count; i++) {
            int fd = got[i].data.fd;
            if (fd == listener) {
                int client = accept(listener, NULL, NULL);
                if (client < 0 || add(epfd, client, EPOLLIN | EPOLLRDHUP) != 0) return 9;
                clients++;
                continue;
            }
            char data[4096];
            ssize_t amount = read(fd, data, sizeof data);
            if (amount > 0 && write(fd, data, (size_t)amount) != amount) return 10;
            if (amount > 0 && data[amount - 1] == '!') {
                /* The last message of the last client: the daemon ends while its clients are still
                 * connected. */
                if (clients != CLIENTS) return 11;
                if (quits_by == 0) exit(17);
                if (quits_by == 1) _exit(17);
                if (quits_by == 2) quick_exit(17);
                return 17;
            }
            if (amount <= 0 && close(fd) != 0) return 12;
        }
    }
}

static int connected(const char *port_file) {
    struct sockaddr_in there = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    for (int i = 0; i < 1000; i++) {
        FILE *file = fopen(port_file, "r");
        int port = 0, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (file != NULL && fscanf(file, "%d", &port) != 1) port = 0;
        if (file != NULL) fclose(file);
        there.sin_port = htons((uint16_t)port);
        if (port != 0 && connect(fd, (struct sockaddr *)&there, sizeof there) == 0) return fd;
        close(fd);
        nap(10);
    }
    return -1;
}

static int echoed(int fd, const char *text) {
    char data[4096];
    size_t length = strlen(text), got = 0;
    if (write(fd, text, length) != (ssize_t)length) return 0;
    while (got < length) {
        ssize_t amount = read(fd, data + got, length - got);
        if (amount <= 0) return 0;
        got += (size_t)amount;
    }
    return memcmp(data, text, length) == 0;
}

/* How many unexpected bytes arrive before the end. Prints them. */
static long rest_of(int fd) {
    char data[512];
    long all = 0;
    ssize_t amount;
    while ((amount = read(fd, data, sizeof data - 1)) > 0) {
        data[amount] = 0;
        say("     a client was sent: %.200s\n", data);
        all += amount;
    }
    return all;
}

int main(void) {
    char directory[] = "/tmp/epollshim-daemon-XXXXXX", port_file[64];
    CHECK(mkdtemp(directory) != NULL && prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
    snprintf(port_file, sizeof port_file, "%s/port", directory);
    for (int run = 0; run < 24; run++) {
        int layout = run % 6, quits_by = run / 6, fds[CLIENTS], good = 0, rest = 0;
        pid_t first = fork();
        if (first == 0) {
            if (setsid() < 0) _exit(1);
            if (fork() != 0) _exit(0);
            int status = serve(layout, port_file, quits_by);
            exit(status);
        }
        QUIETLY(status_of(first) == 0);
        for (int i = 0; i < CLIENTS; i++) fds[i] = connected(port_file);
        for (int round = 0; round < 3; round++) {
            for (int i = 0; i < CLIENTS; i++) good += echoed(fds[i], round % 2 ? "hello" : "a longer line of text\n");
        }
        good += echoed(fds[CLIENTS - 1], "quit!");
        for (int i = 0; i < CLIENTS; i++) rest += (int)rest_of(fds[i]), close(fds[i]);
        int status = 0;
        QUIETLY(wait(&status) > 0);
        say("     layout %d, end %d\n", layout, quits_by);
        EQUAL(good, 3 * CLIENTS + 1);
        EQUAL(rest, 0);
        EQUAL(WIFEXITED(status) ? WEXITSTATUS(status) : -1, 17);
        QUIETLY(unlink(port_file) == 0);
    }
    EQUAL(rmdir(directory), 0);
    return verdict();
}
