/* Allocates before it uses epoll, and prints whether both worked. If the allocator uses descriptors
 * while it initialises itself, the process's first hooks run with that allocator's lock held. */
#include "../check.h"

int main(void) {
    void *block = malloc(10);
    check_that(block != NULL, "malloc gives a block", __LINE__);
    free(block);
    int epfd = WORKS(epoll_create1(0));
    GIVES(close(epfd), 0);
    return verdict();
}
