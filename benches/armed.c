/* What a call costs while something is armed that does not affect it, and what a line of the log
 * costs.
 *
 *   armed FORWARDER LOOKER SHIM [--rounds N] [--json FILE]
 *
 * One process dlopen()s the libraries. A round times a batch of each path through the forwarder,
 * and through the shim in each state: nothing armed, rules that do not match, limits that are not
 * reached. epollshim_inject and epollshim_limit set the state, in an order that changes from round
 * to round. Limits come last: once they were set, the ledger continues to follow what they count.
 *
 * The log and the recording are configured only by the environment: processes run in turn, with
 * and without, under LD_PRELOAD. (For the recording, calls that are not timed otherwise are
 * measured: the figure includes two clock reads.) */
#include "bench.h"

enum { CALLS = 400, STATES = 6, PATHS = 4, RUNS = 8 };

static int (*inject)(const char *), (*inject_clear)(void), (*limit)(const char *);

static const struct state {
    const char *name, *rules, *limits;
} states[STATES] = {
    {"nothing armed", NULL, NULL},
    {"a rule for another call", "dup3:error=EIO", NULL},
    {"a rule for another descriptor", "all:error=EIO:epfd=999999:fd=999999", NULL},
    {"a rule whose turn is far off", "all:error=EIO:when=4000000000", NULL},
    {"eight of those", "all:error=EIO:when=4000000000;all:error=EIO:when=4000000000;all:error=EIO:when=4000000000;"
                       "all:error=EIO:when=4000000000;all:error=EIO:when=4000000000;all:error=EIO:when=4000000000;"
                       "all:error=EIO:when=4000000000;all:error=EIO:when=4000000000", NULL},
    {"limits that are not met", NULL, "instances=100000,watches=1000000,memory=1G,events=100000"},
};

static int epfd, watched, other;
static struct epoll_event events[64];

static void path_wait(const struct api *api)
{
    for (int i = 0; i < CALLS; i++)
        api->epoll_wait(epfd, events, 64, 0);
}

static void path_mod(const struct api *api)
{
    struct epoll_event event = {.events = EPOLLIN};
    for (int i = 0; i < CALLS; i++)
        api->epoll_ctl(epfd, EPOLL_CTL_MOD, watched, &event);
}

static void path_add(const struct api *api)
{
    struct epoll_event event = {.events = EPOLLIN};
    for (int i = 0; i < CALLS / 2; i++) {
        api->epoll_ctl(epfd, EPOLL_CTL_ADD, other, &event);
        api->epoll_ctl(epfd, EPOLL_CTL_DEL, other, NULL);
    }
}

static void path_close(const struct api *api)
{
    for (int i = 0; i < CALLS; i++)
        api->close(-1);
}

static const struct {
    const char *name;
    void (*run)(const struct api *);
} paths[PATHS] = {
    {"epoll_wait, timeout 0", path_wait},
    {"epoll_ctl MOD", path_mod},
    {"epoll_ctl ADD, DEL", path_add},
    {"close of no descriptor", path_close},
};

static double timed(int path, const struct api *api)
{
    paths[path].run(api); /* warm: the state has changed */
    double start = now_ns();
    paths[path].run(api);
    return (now_ns() - start) / CALLS;
}

static void enter(const struct state *state)
{
    CHECK(inject_clear() == 0);
    CHECK(limit(state->limits) == 0);
    if (state->rules)
        CHECK(inject(state->rules) == 0);
}

static void measure(int first, int last, double *samples[STATES + 1][PATHS])
{
    for (int round = -2; round < rounds; round++)
        for (int path = 0; path < PATHS; path++) {
            double least = timed(path, &apis[FORWARDER]);
            for (int i = 0; i < last - first; i++) {
                int at = first + (i + (round + 2)) % (last - first);
                enter(&states[at]);
                double taken = timed(path, &apis[SHIM]);
                if (round >= 0)
                    samples[at][path][round] = taken;
            }
            if (round >= 0)
                samples[STATES][path][round] = least;
        }
}

/* What the shim without recording costs over the forwarder, for the recording's bound. */
static double over_forwarder[PATHS];

static void print_states(double *samples[STATES + 1][PATHS])
{
    static struct summary of[STATES + 1][PATHS];
    printf("\nArmed (ns over the shim with nothing armed: minima / medians; bound 15)\n%-34s", "");
    for (int path = 0; path < PATHS; path++) {
        printf(" %21s", paths[path].name);
        for (int at = 0; at <= STATES; at++)
            of[at][path] = summarise(samples[at][path], rounds);
    }
    printf("\n%-34s", "(nothing armed, over the forwarder)");
    for (int path = 0; path < PATHS; path++) {
        over_forwarder[path] = of[0][path].least - of[STATES][path].least;
        printf(" %10.1f / %8.1f", over_forwarder[path], of[0][path].median - of[STATES][path].median);
    }
    putchar('\n');
    for (int at = 1; at < STATES; at++) {
        printf("%-34s", states[at].name);
        bool kept = true;
        for (int path = 0; path < PATHS; path++) {
            double least = of[at][path].least - of[0][path].least, median = of[at][path].median - of[0][path].median;
            printf(" %10.1f / %8.1f", least, median);
            kept &= least <= 15;
            if (json)
                fprintf(json, "{\"path\":\"%s\",\"state\":\"%s\",\"over\":%.3f,\"ok\":%s}\n", paths[path].name,
                        states[at].name, least, least <= 15 ? "true" : "false");
        }
        printf("  %s\n", kept ? "ok" : "MISS");
    }
}

/* ---- the log --------------------------------------------------------------------------------- */

/* Prints nanoseconds of a wait with timeout 0 and of a MOD, under whatever is preloaded. */
static void child_log(void)
{
    load(&apis[0], RTLD_DEFAULT);
    pin();
    CHECK((epfd = apis[0].epoll_create1(EPOLL_CLOEXEC)) >= 0);
    watched = watch(&apis[0], epfd, new_eventfd(0));
    double least[2] = {1e9, 1e9};
    for (int round = 0; round < 60; round++)
        for (int path = 0; path < 2; path++) {
            double taken = timed(path, &apis[0]);
            least[path] = taken < least[path] ? taken : least[path];
        }
    printf("%f %f\n", least[0], least[1]);
}

static void run_log(const char *log, const char *format, const char *record, double least[2])
{
    char preload[4096], to[4096], form[64], into[4096], output[] = "/tmp/epollshim-bench-XXXXXX";
    int end = mkstemp(output);
    CHECK(end >= 0);
    snprintf(preload, sizeof preload, "LD_PRELOAD=%s", libraries[SHIM]);
    snprintf(to, sizeof to, "EPOLLSHIM_LOG=%s", log);
    snprintf(form, sizeof form, "EPOLLSHIM_LOG_FORMAT=%s", format);
    snprintf(into, sizeof into, "EPOLLSHIM_RECORD=%s", record ? record : "");
    char *environment[] = {"EPOLLSHIM_REPORT=none", preload, to, form, record ? into : NULL, NULL};
    char *arguments[] = {program_invocation_short_name, "--child-log", (char *)libraries[FORWARDER],
                         (char *)libraries[LOOKER], (char *)libraries[SHIM], NULL};
    pid_t child;
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, end, 1);
    CHECK(posix_spawn(&child, "/proc/self/exe", &actions, NULL, arguments, environment) == 0);
    posix_spawn_file_actions_destroy(&actions);
    int status;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    FILE *file = fopen(output, "r");
    double taken[2];
    CHECK(file && fscanf(file, "%lf %lf", &taken[0], &taken[1]) == 2);
    fclose(file);
    close(end);
    unlink(output);
    for (int path = 0; path < 2; path++)
        least[path] = taken[path] < least[path] ? taken[path] : least[path];
}

/* Nanoseconds of a clock read. */
static double clock_read(void)
{
    double least = 1e9;
    for (int round = 0; round < 100; round++) {
        struct timespec now;
        double start = now_ns();
        for (int i = 0; i < 1000; i++)
            clock_gettime(CLOCK_MONOTONIC, &now);
        double taken = (now_ns() - start) / 1000;
        least = taken < least ? taken : least;
    }
    return least;
}

static void measure_log(void)
{
    char file[] = "/tmp/epollshim-bench-log-XXXXXX", directory[] = "/tmp/epollshim-bench-rec-XXXXXX", remove[256];
    close(mkstemp(file));
    CHECK(mkdtemp(directory));
    const struct {
        const char *name, *log, *format, *record;
    } ways[] = {
        {"no log, no recording", "none", "text", NULL},
        {"log: text, to /dev/null", "/dev/null", "text", NULL},
        {"log: text, to a file", file, "text", NULL},
        {"log: JSON, to a file", file, "json", NULL},
        {"recording", "none", "text", directory},
    };
    enum { WAYS = sizeof ways / sizeof *ways };
    double least[WAYS][2];
    for (int way = 0; way < WAYS; way++)
        least[way][0] = least[way][1] = 1e9;
    for (int run = 0; run < RUNS; run++)
        for (int i = 0; i < WAYS; i++) {
            int way = (i + run) % WAYS;
            run_log(ways[way].log, ways[way].format, ways[way].record, least[way]);
            CHECK(truncate(file, 0) == 0);
        }
    unlink(file);
    snprintf(remove, sizeof remove, "rm -rf %s", directory);
    CHECK(system(remove) == 0);
    printf("\nThe log and the recording (ns a call over neither: minima of %d processes)\n%-34s %21s %21s\n", RUNS, "",
           paths[0].name, paths[1].name);
    for (int way = 1; way < WAYS; way++) {
        printf("%-34s", ways[way].name);
        for (int path = 0; path < 2; path++) {
            printf(" %21.0f", least[way][path] - least[0][path]);
            if (json)
                fprintf(json, "{\"path\":\"%s\",\"log\":\"%s\",\"over\":%.3f}\n", paths[path].name, ways[way].name,
                        least[way][path] - least[0][path]);
        }
        putchar('\n');
    }
    double bound = 2 * clock_read() + 25, over[2];
    printf("%-34s", "recording, over the forwarder");
    for (int path = 0; path < 2; path++) {
        over[path] = least[WAYS - 1][path] - least[0][path] + over_forwarder[path];
        printf(" %21.0f", over[path]);
        if (json)
            fprintf(json, "{\"path\":\"%s\",\"recorded over the forwarder\":%.3f,\"bound\":%.3f,\"ok\":%s}\n",
                    paths[path].name, over[path], bound, over[path] <= bound ? "true" : "false");
    }
    printf("  %s\n  (the bound is two clock reads and 25: %.0f)\n", over[0] <= bound && over[1] <= bound ? "ok" : "MISS", bound);
}

int main(int count, char **arguments)
{
    bool child = is_child(&count, arguments, "--child-log");
    read_arguments(count, arguments);
    if (child) {
        child_log();
        return 0;
    }
    rounds = rounds / 8 < 16 ? 16 : rounds / 8;
    load_all();
    void *shim = dlopen(libraries[SHIM], RTLD_NOW | RTLD_LOCAL);
    *(void **)&inject = symbol(shim, "epollshim_inject");
    *(void **)&inject_clear = symbol(shim, "epollshim_inject_clear");
    *(void **)&limit = symbol(shim, "epollshim_limit");
    const struct api *owner = &apis[SHIM];
    CHECK((epfd = owner->epoll_create1(EPOLL_CLOEXEC)) >= 0);
    watched = watch(owner, epfd, new_eventfd(0));
    other = new_eventfd(0);
    pin();
    double *samples[STATES + 1][PATHS];
    for (int at = 0; at <= STATES; at++)
        for (int path = 0; path < PATHS; path++)
            CHECK((samples[at][path] = calloc((size_t)rounds, sizeof(double))));
    measure(0, STATES - 1, samples);
    measure(STATES - 1, STATES, samples);
    print_states(samples);
    measure_log();
    return 0;
}
