/* Memory that was not given is written to. */
#include "event_loop.h"

int main(int count, char **arguments) {
    (void)count;
    char *volatile copy = malloc(64);
    strncpy(copy, arguments[0] + strlen(arguments[0]), 64);
    puts("copied");
    free(copy);
    return 0;
}
