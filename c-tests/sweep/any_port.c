/* The result of bind is ignored: listen then takes any port, to which no client connects. Never
 * ready. */
#include "listener.h"

int main(int count, char **arguments) {
    serve_or_ask(count, arguments);
    struct sockaddr_in address = address_of(arguments[1]);
    int socket_ = new_socket(), yes = 1, client;
    setsockopt(socket_, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    int bound = bind(socket_, (struct sockaddr *)&address, sizeof address);
#ifdef FIXED
    if (bound != 0)
        return fail("bind");
#endif
    (void)bound;
    if (listen(socket_, 8) != 0)
        return fail("listen");
    while ((client = accept(socket_, NULL, NULL)) >= 0)
        answer(client);
    return fail("accept");
}
