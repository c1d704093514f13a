/* A server that exits with status 0 when it cannot accept: its parent believes that it was asked to
 * end. */
#include "listener.h"

int main(int count, char **arguments) {
    serve_or_ask(count, arguments);
    int socket_ = listen_at(arguments[1]), client;
    fprintf(stderr, "ready\n");
    while ((client = accept(socket_, NULL, NULL)) >= 0)
        answer(client);
#ifdef FIXED
    return fail("accept");
#else
    return 0;
#endif
}
