/* The error path frees memory and then uses it in the message: compile with -fsanitize=address. */
#include "event_loop.h"

struct connection {
    int descriptor;
};

int main(void) {
    connect_ends();
    struct connection *volatile connection = malloc(sizeof *connection);
    if (connection == NULL)
        return 1;
    connection->descriptor = ends[0];
    int loop = new_loop();
    if (watch(loop, connection->descriptor) != 0) {
#ifdef FIXED
        fprintf(stderr, "cannot watch %d\n", connection->descriptor);
        free(connection);
#else
        free(connection);
        fprintf(stderr, "cannot watch %d\n", connection->descriptor);
#endif
        return 1;
    }
    free(connection);
    puts("watching");
    return 0;
}
