// For loops that spin: they run by processor time, so that a busy machine gives them as many
// rounds. When fixed they sleep, and run by the clock.
#ifndef BURNS_H
#define BURNS_H

#include "finding.h"
#include "clock.h"

static inline int goes_on(const struct since *since, long milliseconds)
{
#ifdef FIXED
    return runs(since, milliseconds);
#else
    struct timespec used;
    (void)since;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    return used.tv_sec * 1000 + used.tv_nsec / 1000000 < milliseconds;
#endif
}

#endif
