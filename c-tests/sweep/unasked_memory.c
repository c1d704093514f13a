/* Memory is written although its allocation failed. */
#include "event_loop.h"

int main(void) {
    connect_ends();
    char *copy = malloc(64);
    strcpy(copy, "copied");
    puts(copy);
    free(copy);
    return 0;
}
