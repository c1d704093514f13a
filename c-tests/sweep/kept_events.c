/* The server serves its client, and forgets what it created for it if the client cannot be watched:
 * leak. */
#include "listener.h"

#include <sys/eventfd.h>

int main(int count, char **arguments) {
    serve_or_ask(count, arguments);
    int socket_ = listen_at(arguments[1]), loop = new_loop(), client;
    fprintf(stderr, "ready\n");
    while ((client = accept(socket_, NULL, NULL)) >= 0) {
        int events = eventfd(0, EFD_CLOEXEC);
        if (events >= 0 && watch(loop, events) == 0)
            close(events);
#ifdef FIXED
        else if (events >= 0)
            close(events);
#endif
        answer(client);
    }
    return fail("accept");
}
