/* `server PORT serve` goes on when it cannot watch its listening socket: it listens, serves nobody, and says nothing.
 * `server PORT strict` ends with a message instead. Each client gets one line. `server PORT ask` is a client. */
#include "event_loop.h"

#include <arpa/inet.h>
#include <netinet/in.h>

static int fail(const char *what) {
    perror(what);
    return 1;
}

int main(int count, char **arguments) {
    if (count != 3)
        return 2;
    int socket_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), yes = 1;
    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons((unsigned short)atoi(arguments[1])),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    if (socket_ < 0)
        return fail("socket");
    if (strcmp(arguments[2], "ask") == 0) {
        char line[6];
        if (connect(socket_, (struct sockaddr *)&address, sizeof address) != 0)
            return fail("connect");
        return recv(socket_, line, sizeof line, MSG_WAITALL) == sizeof line && memcmp(line, "hello\n", 6) == 0 ? 0 : 1;
    }
    if (setsockopt(socket_, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) != 0 ||
        bind(socket_, (struct sockaddr *)&address, sizeof address) != 0 || listen(socket_, 8) != 0)
        return fail("listen");
    int loop = new_loop();
    if (watch(loop, socket_) != 0 && strcmp(arguments[2], "strict") == 0)
        return fail("watch");
    fprintf(stderr, "ready\n");
    for (;;) {
        struct epoll_event event;
        if (epoll_wait(loop, &event, 1, -1) != 1)
            continue;
        int client = accept(socket_, NULL, NULL);
        if (client < 0)
            return fail("accept");
        if (write(client, "hello\n", 6) != 6)
            perror("write");
        close(client);
    }
}
