/* A helper that cannot be started counts as one that has returned 0: wrong output. */
#include "event_loop.h"

int main(void) {
    int value = 0;
    FILE *helper = popen("echo 42", "r");
    if (helper != NULL) {
        if (fscanf(helper, "%d", &value) != 1)
            return 1;
        pclose(helper);
    }
#ifdef FIXED
    else {
        perror("popen");
        return 1;
    }
#endif
    printf("value %d\n", value);
    return 0;
}
