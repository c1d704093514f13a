// For loops that spin: they go on by processor time, so that a busy machine gives them as many rounds. Fixed, they sleep, and go on by
// the clock.
#ifndef BURNS_H
#define BURNS_H

#include "../finding.h"
#include "../clock.h"

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
