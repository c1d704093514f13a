/* Ends by a signal that the process does not send itself, so that nothing in the process can know
 * it in advance. */
#pragma once
#include <signal.h>
#include <time.h>
#include <unistd.h>

__attribute__((unused)) static void be_killed_by(int number) {
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = number};
    struct itimerspec soon = {.it_value = {0, 1000000}};
    timer_t timer;
    if (number == SIGSEGV) *(volatile int *)8 = 1;
    if (timer_create(CLOCK_MONOTONIC, &event, &timer) == 0) timer_settime(timer, 0, &soon, NULL);
    for (;;) pause();
}
