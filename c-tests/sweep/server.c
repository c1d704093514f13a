/* `server PORT serve` continues when it cannot watch its listening socket: it listens, serves no
 * client, and prints nothing. `server PORT strict` ends with a message instead. Each client gets
 * one line. `server PORT ask` is a client. */
#include "listener.h"

int main(int count, char **arguments) {
    serve_or_ask(count, arguments);
    int socket_ = listen_at(arguments[1]);
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
        answer(client);
    }
}
