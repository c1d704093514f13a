/* A server that ends when it cannot accept, with status 0: whoever started it believes that it was asked to. */
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
