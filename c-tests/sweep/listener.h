/* What the servers of this folder share: `PROGRAM PORT serve` listens there, `PROGRAM PORT ask` is
 * a client of it, which needs only one line. */
#include "event_loop.h"

#include <arpa/inet.h>
#include <netinet/in.h>

static inline int fail(const char *what) {
    perror(what);
    return 1;
}

static inline struct sockaddr_in address_of(const char *port) {
    return (struct sockaddr_in){
        .sin_family = AF_INET,
        .sin_port = htons((unsigned short)atoi(port)),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
}

static inline int new_socket(void) {
    int socket_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (socket_ < 0)
        exit(fail("socket"));
    return socket_;
}

static inline int ask(const char *port) {
    struct sockaddr_in address = address_of(port);
    int socket_ = new_socket();
    char line[6];
    if (connect(socket_, (struct sockaddr *)&address, sizeof address) != 0)
        return fail("connect");
    return recv(socket_, line, sizeof line, MSG_WAITALL) == sizeof line && memcmp(line, "hello\n", 6) == 0 ? 0 : 1;
}

/* The start of main: a client asks and ends here, a server continues. */
static inline void serve_or_ask(int count, char **arguments) {
    if (count != 3)
        exit(2);
    if (strcmp(arguments[2], "ask") == 0)
        exit(ask(arguments[1]));
}

/* Ends the program if it cannot listen. */
static inline int listen_at(const char *port) {
    struct sockaddr_in address = address_of(port);
    int socket_ = new_socket(), yes = 1;
    if (setsockopt(socket_, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) != 0 ||
        bind(socket_, (struct sockaddr *)&address, sizeof address) != 0 || listen(socket_, 8) != 0)
        exit(fail("listen"));
    return socket_;
}

static inline void answer(int client) {
    if (write(client, "hello\n", 6) != 6)
        perror("write");
    close(client);
}
