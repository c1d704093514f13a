/* It waits for two workers even if the second one could not be created: hang. */
#include "event_loop.h"
#include <pthread.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int ready, wanted = 2;

static void *work(void *nothing) {
    pthread_mutex_lock(&lock);
    ready++;
    pthread_cond_broadcast(&changed);
    /* None ends before all exist, so there are that many at a time. */
    while (ready < wanted)
        pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
    return nothing;
}

int main(void) {
    pthread_t workers[2];
    for (int i = 0; i < 2; i++) {
        int error = pthread_create(&workers[i], NULL, work, NULL);
        if (error != 0) {
            fprintf(stderr, "worker %d: %s\n", i, strerror(error));
#ifdef FIXED
            return 1;
#endif
        }
    }
    pthread_mutex_lock(&lock);
    while (ready < wanted)
        pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
    puts("all ready");
    return 0;
}
