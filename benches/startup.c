/* What the start of a program that never uses epoll costs: bare, and with each library preloaded.
 *
 *   startup PROGRAM FORWARDER LOOKER SHIM [--rounds N] [--json FILE]
 *
 * Timed from posix_spawn to the end of the child, in turns whose order changes, all on one
 * processor. The bound (docs/performance.md, "Bounds") applies to the median of the differences,
 * within a round, between the shim and bare. */
#include "bench.h"

static double start(char *program, char **environment)
{
    char *arguments[] = {program, NULL};
    pid_t child;
    int status;
    double begun = now_ns();
    int error = posix_spawn(&child, program, NULL, NULL, arguments, environment);
    if (error || waitpid(child, &status, 0) != child || status)
        die("%s with %s: %s, status %#x", program, environment[0] ? environment[0] : "nothing", strerror(error),
            status);
    return (now_ns() - begun) / 1e3;
}

int main(int count, char **arguments)
{
    const double bound = 300;
    char preload[VARIANTS][4096], *environments[VARIANTS][2] = {0};
    char *program = count > 1 ? realpath(arguments[1], NULL) : NULL;
    if (!program)
        die("usage: startup PROGRAM FORWARDER LOOKER SHIM [--rounds N] [--json FILE]");
    read_arguments(count - 1, arguments + 1);
    for (int v = FORWARDER; v < VARIANTS; v++) {
        snprintf(preload[v], sizeof preload[v], "LD_PRELOAD=%s", libraries[v]);
        environments[v][0] = preload[v];
    }
    pin();
    double *samples[VARIANTS], *over_bare = calloc((size_t)rounds, sizeof *over_bare);
    double *over_forwarder = calloc((size_t)rounds, sizeof *over_forwarder);
    for (int v = 0; v < VARIANTS; v++)
        CHECK(samples[v] = calloc((size_t)rounds, sizeof **samples));
    CHECK(over_bare && over_forwarder);
    for (int round = -8; round < rounds; round++)
        for (int i = 0; i < VARIANTS; i++) {
            int v = order_of(round + 8)[i];
            double taken = v == LOOKER ? 0 : start(program, environments[v]);
            if (round >= 0)
                samples[v][round] = taken;
        }
    for (int round = 0; round < rounds; round++) {
        over_bare[round] = samples[SHIM][round] - samples[BARE][round];
        over_forwarder[round] = samples[SHIM][round] - samples[FORWARDER][round];
    }
    double least[VARIANTS], median[VARIANTS];
    for (int v = 0; v < VARIANTS; v++) {
        struct summary summary = summarise(samples[v], rounds);
        least[v] = summary.least;
        median[v] = summary.median;
    }
    double difference = summarise(over_bare, rounds).median;

    print_figures_heading("Start and end of a program that never uses epoll", "microseconds");
    print_figures("min", least, " %11.0f");
    print_figures("\nmedian", median, " %11.0f");
    printf("\n%-34s %35.0f\n", "shim less forwarder, in pairs", summarise(over_forwarder, rounds).median);
    printf("%-34s %35.0f", "shim less bare, in pairs", difference);
    judge("start, microseconds", median, "300", difference <= bound);
    return 0;
}
