// For programs that repeat something for a while.
#ifndef CLOCK_H
#define CLOCK_H

#include <sys/socket.h>
#include <time.h>

struct since {
    struct timespec start;
};

static inline long milliseconds_from(struct timespec then)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (now.tv_sec - then.tv_sec) * 1000 + (now.tv_nsec - then.tv_nsec) / 1000000;
}

static inline struct since begin(void)
{
    struct since since;
    clock_gettime(CLOCK_MONOTONIC, &since.start);
    return since;
}

// Whether less than that many milliseconds have passed.
static inline int runs(const struct since *since, long milliseconds)
{
    return milliseconds_from(since->start) < milliseconds;
}

#endif
