/* Shared by the programs of this directory: the variants that are compared, statistics, and error
 * exits. */
#ifndef BENCH_H
#define BENCH_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Not every program uses all of it. */
#pragma GCC diagnostic ignored "-Wunused-function"
#pragma GCC diagnostic ignored "-Wunused-variable"

enum { BARE, FORWARDER, LOOKER, SHIM, VARIANTS };

static const char *const variant_names[VARIANTS] = {"bare", "forwarder", "looker", "shim"};

__attribute__((noreturn, format(printf, 1, 2))) static void die(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "%s: ", program_invocation_short_name);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    exit(1);
}

#define CHECK(condition)                                                                                             \
    do {                                                                                                             \
        if (!(condition))                                                                                            \
            die("line %d: %s: %s", __LINE__, #condition, strerror(errno));                                           \
    } while (0)

/* ---- what the command line says -------------------------------------------------------------- */

static const char *libraries[VARIANTS];
static int rounds = 2000;
static const char *only = "";
static FILE *json;
static bool self;

/* FORWARDER LOOKER SHIM, and options. */
static void read_arguments(int count, char **arguments)
{
    int position = FORWARDER;
    for (int i = 1; i < count; i++) {
        const char *value = i + 1 < count ? arguments[i + 1] : NULL;
        if (strcmp(arguments[i], "--self") == 0)
            self = true;
        else if (strcmp(arguments[i], "--rounds") == 0 && value)
            rounds = atoi(arguments[++i]);
        else if (strcmp(arguments[i], "--only") == 0 && value)
            only = arguments[++i];
        else if (strcmp(arguments[i], "--json") == 0 && value)
            CHECK(json = fopen(arguments[++i], "ae"));
        else if (position < VARIANTS && (libraries[position] = realpath(arguments[i], NULL)))
            position++;
        else
            die("%s: neither an option nor a library", arguments[i]);
    }
    if (position < VARIANTS)
        die("usage: FORWARDER LOOKER SHIM [--rounds N] [--only WORDS] [--json FILE] [--self]");
}

/* ---- the functions that are compared --------------------------------------------------------- */

/* The functions of one variant. */
struct api {
    int (*epoll_create1)(int);
    int (*epoll_ctl)(int, int, int, struct epoll_event *);
    int (*epoll_wait)(int, struct epoll_event *, int, int);
    int (*epoll_pwait)(int, struct epoll_event *, int, int, const sigset_t *);
    int (*epoll_pwait2)(int, struct epoll_event *, int, const struct timespec *, const sigset_t *);
    int (*close)(int);
    int (*dup)(int);
    int (*fcntl)(int, int, ...);
    long (*syscall)(long, ...);
};

static struct api apis[VARIANTS];

static void *symbol(void *library, const char *name)
{
    void *address = dlsym(library, name);
    if (!address)
        die("%s", dlerror());
    return address;
}

static void load(struct api *api, void *library)
{
#define LOAD(name) *(void **)&api->name = symbol(library, #name)
    LOAD(epoll_create1);
    LOAD(epoll_ctl);
    LOAD(epoll_wait);
    LOAD(epoll_pwait);
    LOAD(epoll_pwait2);
    LOAD(close);
    LOAD(dup);
    LOAD(fcntl);
    LOAD(syscall);
#undef LOAD
}

/* Loads all libraries into this process. */
static void load_all(void)
{
    setenv("EPOLLSHIM_REPORT", "none", 1);
    load(&apis[BARE], RTLD_DEFAULT);
    for (int v = FORWARDER; v < VARIANTS; v++) {
        void *library = dlopen(libraries[v], RTLD_NOW | RTLD_LOCAL);
        if (!library)
            die("%s", dlerror());
        load(&apis[v], library);
        if (apis[v].close == apis[v - 1].close || apis[v].close == apis[BARE].close)
            die("%s: the same functions as another's: is it preloaded, or given twice?", libraries[v]);
    }
}

static int new_eventfd(unsigned value)
{
    int fd = eventfd(value, EFD_CLOEXEC | EFD_NONBLOCK);
    CHECK(fd >= 0);
    return fd;
}

static int watch(const struct api *api, int epfd, int fd)
{
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    CHECK(api->epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &event) == 0);
    return fd;
}

/* ---- the machine ----------------------------------------------------------------------------- */

static double now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static void pin(void)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(sched_getcpu(), &set);
    sched_setaffinity(0, sizeof set, &set);
}

static void unpin(void)
{
    cpu_set_t set;
    memset(&set, 0xff, sizeof set);
    sched_setaffinity(0, sizeof set, &set);
}

static void raise_limits(void)
{
    struct rlimit most = {1048576, 1048576};
    if (setrlimit(RLIMIT_NOFILE, &most) == 0)
        return;
    CHECK(getrlimit(RLIMIT_NOFILE, &most) == 0);
    most.rlim_cur = most.rlim_max;
    CHECK(setrlimit(RLIMIT_NOFILE, &most) == 0);
    if (most.rlim_cur < 16384)
        die("RLIMIT_NOFILE is %ld, at least 16384 are needed", (long)most.rlim_cur);
}

/* Starts this program again, as `--child-TASK` with `library` preloaded (NULL: none). The stream
 * has its output. */
static FILE *again(const char *task, const char *library, pid_t *child)
{
    int ends[2];
    CHECK(pipe2(ends, O_CLOEXEC) == 0);
    char preload[4096];
    snprintf(preload, sizeof preload, "LD_PRELOAD=%s", library ? library : "");
    char *environment[] = {"EPOLLSHIM_REPORT=none", "PATH=/usr/bin:/bin", library ? preload : NULL, NULL};
    char count[32];
    snprintf(count, sizeof count, "%d", rounds);
    char *arguments[] = {program_invocation_short_name, (char *)task,    (char *)libraries[FORWARDER],
                         (char *)libraries[LOOKER],     (char *)libraries[SHIM], "--rounds", count,
                         "--only", (char *)only, NULL};
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], 1);
    CHECK(posix_spawn(child, "/proc/self/exe", &actions, NULL, arguments, environment) == 0);
    posix_spawn_file_actions_destroy(&actions);
    close(ends[1]);
    FILE *output = fdopen(ends[0], "r");
    CHECK(output);
    return output;
}

static void finished(FILE *output, pid_t child)
{
    int status;
    fclose(output);
    CHECK(waitpid(child, &status, 0) == child);
    if (status)
        die("a process of this measurement failed (status %#x)", status);
}

/* True if `again` started this process; removes the task from the arguments. */
static bool is_child(int *count, char **arguments, const char *task)
{
    if (*count < 2 || strcmp(arguments[1], task) != 0)
        return false;
    memmove(&arguments[1], &arguments[2], (size_t)(*count - 1) * sizeof *arguments);
    --*count;
    return true;
}

/* ---- statistics ------------------------------------------------------------------------------ */

static int ascending(const void *left, const void *right)
{
    double l = *(const double *)left, r = *(const double *)right;
    return (l > r) - (l < r);
}

struct summary {
    double least, median;
};

/* Sorts `samples`. */
static struct summary summarise(double *samples, int count)
{
    qsort(samples, (size_t)count, sizeof *samples, ascending);
    return (struct summary){samples[0], samples[count / 2]};
}

/* Each variant comes first, second, third, last equally often, and after each other variant. */
static const int *order_of(int round)
{
    static const int orders[8][VARIANTS] = {{0, 1, 2, 3}, {3, 2, 1, 0}, {1, 3, 0, 2}, {2, 0, 3, 1},
                                            {2, 3, 0, 1}, {1, 0, 3, 2}, {3, 1, 2, 0}, {0, 2, 1, 3}};
    return orders[round % 8];
}

/* ---- figures with one number per variant ----------------------------------------------------- */

/* The looker's part is only the floor. */
static const int shown[] = {BARE, FORWARDER, SHIM};
enum { SHOWN = sizeof shown / sizeof *shown };

static void print_figures_heading(const char *title, const char *unit)
{
    printf("\n%s\n%-34s %11s %11s %11s bound\n", title, unit, "bare", "forwarder", "shim");
}

static void print_figures(const char *name, const double figures[VARIANTS], const char *format)
{
    printf("%-34s", name);
    for (int i = 0; i < SHOWN; i++)
        printf(format, figures[shown[i]]);
}

/* The verdict ends the line that `print_figures` began, and goes to the JSON file. */
static void judge(const char *name, const double figures[VARIANTS], const char *bound, bool kept)
{
    printf(" %4s %s\n", bound, kept ? "ok" : "MISS");
    fflush(stdout);
    if (!json)
        return;
    fprintf(json, "{\"path\":\"%s\"", name);
    for (int i = 0; i < SHOWN; i++)
        fprintf(json, ",\"%s\":%.3f", variant_names[shown[i]], figures[shown[i]]);
    fprintf(json, ",\"ok\":%s}\n", kept ? "true" : "false");
}

#endif
