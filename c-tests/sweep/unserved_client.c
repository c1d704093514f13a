/* A client whose ADD fails is kept, never served and never closed: deaf to this client. */
#include "listener.h"

int main(int count, char **arguments) {
    serve_or_ask(count, arguments);
    int socket_ = listen_at(arguments[1]), loop = new_loop();
    if (watch(loop, socket_) != 0)
        return fail("watch");
    fprintf(stderr, "ready\n");
    for (;;) {
        struct epoll_event event = {.events = EPOLLOUT};
        if (epoll_wait(loop, &event, 1, -1) != 1)
            continue;
        if (event.data.fd != socket_) {
            answer(event.data.fd);
            continue;
        }
        event.events = EPOLLOUT;
        event.data.fd = accept(socket_, NULL, NULL);
        if (event.data.fd < 0)
            return fail("accept");
        if (epoll_ctl(loop, EPOLL_CTL_ADD, event.data.fd, &event) != 0) {
            perror("client");
#ifdef FIXED
            close(event.data.fd);
#endif
        }
    }
}
