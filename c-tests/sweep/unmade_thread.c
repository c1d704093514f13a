/* The program does not check whether the thread was created, and uses what it was to create:
 * crash. */
#include "event_loop.h"
#include <pthread.h>

static int *made;

static void *make(void *nothing) {
    made = ends;
    return nothing;
}

int main(void) {
    pthread_t worker;
    int error = pthread_create(&worker, NULL, make, NULL);
#ifdef FIXED
    if (error != 0) {
        fprintf(stderr, "pthread_create: %s\n", strerror(error));
        return 1;
    }
#endif
    if (error == 0)
        pthread_join(worker, NULL);
    printf("made %d\n", *made);
    return 0;
}
