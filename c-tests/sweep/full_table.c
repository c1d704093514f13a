/* A level-triggered listening socket stays ready while accept gets no descriptor. If the shortage
 * lasts, the loop spins. */
#include "listener.h"

int main(int count, char **arguments) {
    serve_or_ask(count, arguments);
    int socket_ = listen_at(arguments[1]), loop = new_loop();
    if (watch(loop, socket_) != 0)
        return fail("watch");
    fprintf(stderr, "ready\n");
    for (;;) {
        struct epoll_event event;
        if (epoll_wait(loop, &event, 1, -1) != 1)
            continue;
        int client = accept(socket_, NULL, NULL);
        if (client >= 0)
            answer(client);
#ifdef FIXED
        else
            return fail("accept");
#endif
    }
}
