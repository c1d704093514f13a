/* What the start of a program that never uses epoll costs: bare, and with each library preloaded.
 *
 *   startup PROGRAM FORWARDER SHIM [--rounds N] [--json FILE]
 *
 * From posix_spawn to the end of the child, in turns whose order changes, all on one processor. The bound of SPEC.md
 * section 10, 0.3 ms, is held against the median of the differences, within a round, between the shim and bare. */
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

enum { BARE, FORWARDER, SHIM, VARIANTS };

static double now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

static double start(char *program, char **environment)
{
    char *arguments[] = {program, NULL};
    pid_t child;
    int status;
    double begun = now_us();
    int error = posix_spawn(&child, program, NULL, NULL, arguments, environment);
    if (error || waitpid(child, &status, 0) != child || status) {
        fprintf(stderr, "startup: %s with %s: %s, status %#x\n", program, environment[0] ? environment[0] : "nothing",
                strerror(error), status);
        exit(1);
    }
    return now_us() - begun;
}

static int ascending(const void *left, const void *right)
{
    double l = *(const double *)left, r = *(const double *)right;
    return (l > r) - (l < r);
}

static double median(double *samples, int count)
{
    qsort(samples, (size_t)count, sizeof *samples, ascending);
    return samples[count / 2];
}

int main(int count, char **arguments)
{
    static const int orders[6][VARIANTS] = {{0, 1, 2}, {2, 1, 0}, {1, 2, 0}, {0, 2, 1}, {2, 0, 1}, {1, 0, 2}};
    static const char *const names[VARIANTS] = {"bare", "forwarder", "shim"};
    const double bound = 300;
    char preload[VARIANTS][4096];
    char *environments[VARIANTS][2] = {0};
    int rounds = 1000;
    FILE *json = NULL;
    if (count < 4) {
        fputs("usage: startup PROGRAM FORWARDER SHIM [--rounds N] [--json FILE]\n", stderr);
        return 2;
    }
    for (int i = 4; i + 1 < count; i += 2) {
        if (strcmp(arguments[i], "--rounds") == 0)
            rounds = atoi(arguments[i + 1]);
        if (strcmp(arguments[i], "--json") == 0)
            json = fopen(arguments[i + 1], "ae");
    }
    for (int v = FORWARDER; v < VARIANTS; v++) {
        char *path = realpath(arguments[1 + v], NULL);
        if (!path) {
            fprintf(stderr, "startup: %s: %s\n", arguments[1 + v], strerror(errno));
            return 2;
        }
        snprintf(preload[v], sizeof preload[v], "LD_PRELOAD=%s", path);
        environments[v][0] = preload[v];
        free(path);
    }
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(sched_getcpu(), &set);
    sched_setaffinity(0, sizeof set, &set);

    double *samples[VARIANTS], *over_bare = calloc((size_t)rounds, sizeof *over_bare);
    double *over_forwarder = calloc((size_t)rounds, sizeof *over_forwarder);
    for (int v = 0; v < VARIANTS; v++)
        samples[v] = calloc((size_t)rounds, sizeof **samples);
    for (int round = -6; round < rounds; round++)
        for (int i = 0; i < VARIANTS; i++) {
            int v = orders[(round + 6) % 6][i];
            double taken = start(arguments[1], environments[v]);
            if (round >= 0)
                samples[v][round] = taken;
        }
    for (int round = 0; round < rounds; round++) {
        over_bare[round] = samples[SHIM][round] - samples[BARE][round];
        over_forwarder[round] = samples[SHIM][round] - samples[FORWARDER][round];
    }
    double medians[VARIANTS];
    for (int v = 0; v < VARIANTS; v++)
        medians[v] = median(samples[v], rounds);
    double difference = median(over_bare, rounds);
    const char *verdict = difference <= bound ? "ok" : "MISS";

    puts("\nStart and end of a program that never uses epoll");
    printf("%-34s %11s %11s %11s bound\n", "microseconds", names[BARE], names[FORWARDER], names[SHIM]);
    printf("%-34s", "min");
    for (int v = 0; v < VARIANTS; v++)
        printf(" %11.0f", samples[v][0]);
    printf("\n%-34s", "median");
    for (int v = 0; v < VARIANTS; v++)
        printf(" %11.0f", medians[v]);
    printf("\n%-34s %11s %11s %+11.0f\n", "shim less forwarder, in pairs", "", "", median(over_forwarder, rounds));
    printf("%-34s %11s %11s %+11.0f %3.0f %s\n", "shim less bare, in pairs", "", "", difference, bound, verdict);
    if (json)
        fprintf(json, "{\"path\":\"startup\",\"bare_us\":%.1f,\"forwarder_us\":%.1f,\"shim_us\":%.1f,\"ok\":%s}\n",
                medians[BARE], medians[FORWARDER], medians[SHIM], difference <= bound ? "true" : "false");
    return 0;
}
