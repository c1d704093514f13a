/* Prints the results of the calls of a library's constructor (fault_early_library.c), and then
 * makes one call itself. */
#include "check.h"

extern int early_results[], early_count;
extern void early_end(void);

int main(void) {
    early_end();
    int made = 0, refused = 0;
    for (int i = 0; i < early_count; i++) {
        made += early_results[i] >= 0;
        refused += early_results[i] == -ENOTNAM;
    }
    say("%d made, %d refused\n", made, refused);
    int last = epoll_create1(0);
    say("then %s\n", last >= 0 ? "made" : strerrorname_np(errno));
    return 0;
}
