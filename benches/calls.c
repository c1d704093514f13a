/* What a call costs: bare, through a library that only forwards, and through the shim.
 *
 *   calls FORWARDER LOOKER SHIM [--rounds N] [--only WORDS] [--json FILE]    all tables
 *   calls FORWARDER LOOKER SHIM --self [--rounds N]                          cross-check, by
 *                                                                            real LD_PRELOAD
 *
 * One process dlopen()s the libraries and takes bare functions from libc. Each path is a batch of
 * calls through function pointers. A round times the batch of every variant, in an order that
 * changes from round to round, so that noise affects all alike. All variants work on the same
 * instance and the same descriptors, so that the kernel does the same work for each. Instances and
 * descriptors that the shim should know are created through it.
 *
 * Several processes do this one after another: addresses (branches that share an entry of the
 * processor's tables) stay the same as long as a process lives.
 *
 * For each path it prints the minimum and the median of nanoseconds per call, and what the shim
 * takes beyond the forwarder: by the minima of each process, and by the pairs within the rounds
 * (the median of each). Both are compared with the bound (docs/performance.md, "Bounds"). The
 * floor is the same (the smaller of the two) for the looker: a forwarder whose results return
 * through it (see forwarder.c).
 *
 * The cross-check runs this program once for each variant with LD_PRELOAD, in turn, and takes the
 * functions as any program does. Each process has its own addresses, and there are no rounds to
 * pair. The result is accurate to a few nanoseconds, so it is not compared with a bound.
 *
 * Long because the paths, the processes that measure them and the tables share one list. */
#include "bench.h"
#include <pthread.h>

enum { BATCH_MOST = 1000 };

/* ---- what the paths work on ------------------------------------------------------------------ */

static int quiet_epfd;              /* one descriptor watched, never ready */
static int ready_epfd;              /* one descriptor watched, always ready */
static int busy_epfd;               /* eight, always ready */
static int table_epfd;              /* for ADD and DEL */
static int quiet_fd, ready_fd;      /* watched */
static int unknown_fd;              /* unknown to every epoll */
static int spare[BATCH_MOST];       /* eventfds to add */
static int made[BATCH_MOST];        /* descriptors that a batch makes or uses up */
static struct epoll_event events[64];

/* `owner` is the shim, or under --self what the loader found. It must see these being created. */
static void furnish(const struct api *owner)
{
    CHECK((quiet_epfd = owner->epoll_create1(EPOLL_CLOEXEC)) >= 0);
    CHECK((ready_epfd = owner->epoll_create1(EPOLL_CLOEXEC)) >= 0);
    CHECK((busy_epfd = owner->epoll_create1(EPOLL_CLOEXEC)) >= 0);
    CHECK((table_epfd = owner->epoll_create1(EPOLL_CLOEXEC)) >= 0);
    quiet_fd = watch(owner, quiet_epfd, new_eventfd(0));
    ready_fd = watch(owner, ready_epfd, new_eventfd(1));
    for (int i = 0; i < 8; i++)
        watch(owner, busy_epfd, new_eventfd(1));
    for (int i = 0; i < BATCH_MOST; i++)
        spare[i] = new_eventfd(0);
    unknown_fd = new_eventfd(0);
}

/* ---- the paths ------------------------------------------------------------------------------- */

typedef void step(const struct api *api, int calls);

static void wait_nothing(const struct api *api, int calls)
{
    for (int i = 0; i < calls; i++)
        api->epoll_wait(quiet_epfd, events, 64, 0);
}

static void wait_one(const struct api *api, int calls)
{
    for (int i = 0; i < calls; i++)
        api->epoll_wait(ready_epfd, events, 64, 0);
}

static void wait_eight(const struct api *api, int calls)
{
    for (int i = 0; i < calls; i++)
        api->epoll_wait(busy_epfd, events, 64, 0);
}

static void pwait_nothing(const struct api *api, int calls)
{
    for (int i = 0; i < calls; i++)
        api->epoll_pwait(quiet_epfd, events, 64, 0, NULL);
}

/* Always timed: only the kernel may read what a timeout points to. */
static void pwait2_blocking(const struct api *api, int calls)
{
    static const struct timespec second = {.tv_sec = 1};
    for (int i = 0; i < calls; i++)
        api->epoll_pwait2(ready_epfd, events, 64, &second, NULL);
}

static void raw_wait_nothing(const struct api *api, int calls)
{
    for (int i = 0; i < calls; i++)
        api->syscall(SYS_epoll_pwait, quiet_epfd, events, 64, 0, NULL, 8L);
}

static void wait_blocking(const struct api *api, int calls)
{
    for (int i = 0; i < calls; i++)
        api->epoll_wait(ready_epfd, events, 64, 1000);
}

static void modify(const struct api *api, int calls)
{
    struct epoll_event event = {.events = EPOLLIN, .data.fd = quiet_fd};
    for (int i = 0; i < calls; i++)
        api->epoll_ctl(quiet_epfd, EPOLL_CTL_MOD, quiet_fd, &event);
}

static void add_again(const struct api *api, int calls)
{
    struct epoll_event event = {.events = EPOLLIN, .data.fd = quiet_fd};
    for (int i = 0; i < calls; i++)
        api->epoll_ctl(quiet_epfd, EPOLL_CTL_ADD, quiet_fd, &event);
}

static void add_spares(const struct api *api, int calls)
{
    struct epoll_event event = {.events = EPOLLIN};
    for (int i = 0; i < calls; i++)
        api->epoll_ctl(table_epfd, EPOLL_CTL_ADD, spare[i], &event);
}

static void delete_spares(const struct api *api, int calls)
{
    for (int i = 0; i < calls; i++)
        api->epoll_ctl(table_epfd, EPOLL_CTL_DEL, spare[i], NULL);
}

static void make_unknown(const struct api *api, int calls)
{
    (void)api;
    for (int i = 0; i < calls; i++)
        made[i] = apis[BARE].dup(unknown_fd);
}

static void close_made(const struct api *api, int calls)
{
    for (int i = 0; i < calls; i++)
        api->close(made[i]);
}

static void close_made_bare(const struct api *api, int calls)
{
    (void)api;
    close_made(&apis[BARE], calls);
}

static void raw_close_made(const struct api *api, int calls)
{
    for (int i = 0; i < calls; i++)
        api->syscall(SYS_close, (long)made[i]);
}

static void dup_unknown(const struct api *api, int calls)
{
    for (int i = 0; i < calls; i++)
        made[i] = api->dup(unknown_fd);
}

static void fcntl_dup_unknown(const struct api *api, int calls)
{
    for (int i = 0; i < calls; i++)
        made[i] = api->fcntl(unknown_fd, F_DUPFD_CLOEXEC, 0);
}

static void fcntl_getfl(const struct api *api, int calls)
{
    for (int i = 0; i < calls; i++)
        api->fcntl(unknown_fd, F_GETFL);
}

static void raw_other(const struct api *api, int calls)
{
    for (int i = 0; i < calls; i++)
        api->syscall(SYS_getppid);
}

static void create(const struct api *api, int calls)
{
    for (int i = 0; i < calls; i++)
        made[i] = api->epoll_create1(EPOLL_CLOEXEC);
}

static void dup_instance(const struct api *api, int calls)
{
    for (int i = 0; i < calls; i++)
        made[i] = api->dup(quiet_epfd);
}

static void dup_watched(const struct api *api, int calls)
{
    for (int i = 0; i < calls; i++)
        made[i] = api->dup(quiet_fd);
}

static void make_watched(const struct api *api, int calls)
{
    for (int i = 0; i < calls; i++)
        made[i] = watch(api, table_epfd, new_eventfd(0));
}

/* A bound (docs/performance.md, "Bounds"), in nanoseconds over the forwarder; NO_BOUND: there is
 * none. */
enum { NO_BOUND = 0, CLOCKS = -1 };

static const struct path {
    const char *name;
    double bound; /* CLOCKS: two clock reads + 10 */
    int calls;
    double share; /* of the rounds: an expensive path gets fewer */
    step *before, *timed, *after;
    bool again; /* measured a second time, once the process has two threads */
} paths[] = {
    {"epoll_wait 0, none", 5, 400, 1, NULL, wait_nothing, NULL, true},
    {"epoll_wait 0, 1 event", 5, 400, 1, NULL, wait_one, NULL, false},
    {"epoll_wait 0, 8", 5, 200, 1, NULL, wait_eight, NULL, false},
    {"epoll_pwait 0, none", 5, 400, 1, NULL, pwait_nothing, NULL, false},
    {"syscall(epoll_pwait)", 5, 400, 1, NULL, raw_wait_nothing, NULL, false},
    {"epoll_ctl MOD", 5, 400, 1, NULL, modify, NULL, true},
    {"epoll_ctl ADD, EEXIST", 5, 400, 1, NULL, add_again, NULL, false},
    {"epoll_ctl ADD", 15, 250, 1, NULL, add_spares, delete_spares, true},
    {"epoll_ctl DEL", 15, 250, 1, add_spares, delete_spares, NULL, true},
    {"epoll_wait 1 s, ready", CLOCKS, 300, 1, NULL, wait_blocking, NULL, false},
    {"epoll_pwait2 1 s", CLOCKS, 300, 1, NULL, pwait2_blocking, NULL, false},
    {"close, unknown", 3, 250, 1, make_unknown, close_made, NULL, true},
    {"close, unknown's dup", 3, 250, 1, dup_unknown, close_made, NULL, false},
    {"syscall(close), unkn.", 3, 250, 1, make_unknown, raw_close_made, NULL, false},
    {"dup, unknown", 3, 250, 1, NULL, dup_unknown, close_made_bare, true},
    {"fcntl DUPFD, unknown", 3, 250, 1, NULL, fcntl_dup_unknown, close_made_bare, false},
    {"fcntl F_GETFL", 3, 400, 1, NULL, fcntl_getfl, NULL, true},
    {"syscall(getppid)", 3, 400, 1, NULL, raw_other, NULL, false},
    {"epoll_create1", 200, 100, .25, NULL, create, close_made, true},
    {"close, instance", 200, 100, .25, create, close_made, NULL, true},
    {"dup, instance", 200, 200, .5, NULL, dup_instance, close_made, true},
    {"close, instance's dup", 200, 200, .5, dup_instance, close_made, NULL, false},
    {"dup, watched fd", 200, 200, .5, NULL, dup_watched, close_made, false},
    {"close, watched's dup", 200, 200, .5, dup_watched, close_made, NULL, false},
    {"close, watched fd", 200, 100, .25, make_watched, close_made, NULL, false},
};
enum { PATHS = sizeof paths / sizeof *paths };

static double time_batch(const struct path *path, const struct api *api)
{
    if (path->before)
        path->before(api, path->calls);
    double start = now_ns();
    path->timed(api, path->calls);
    double taken = now_ns() - start;
    if (path->after)
        path->after(api, path->calls);
    return taken / path->calls;
}

static double time_clock(int calls)
{
    struct timespec now;
    double start = now_ns();
    for (int i = 0; i < calls; i++)
        clock_gettime(CLOCK_MONOTONIC, &now);
    return (now_ns() - start) / calls;
}

/* ---- one process measures; many are merged --------------------------------------------------- */

/* How many processes measure all paths, one after another. Each has its own addresses: two branches
 * that share an entry of the processor's tables slow down one process, but not the next. */
enum { PROCESSES = 8, PROCESSES_MOST = 16 };

/* What a process writes for a path, before its samples. */
struct heading {
    char title[72];
    char name[32];
    double bound, clock; /* clock: a clock read, 0 if it was not measured */
    int count;
};

static struct table_row {
    struct heading heading;
    double clocks[PROCESSES], *samples[VARIANTS];
    int processes;
} table[128];
static int table_rows;

static const char *current_title;

static bool wanted(const char *name)
{
    return strstr(name, only) != NULL;
}

static void allocate(double *samples[VARIANTS], int count)
{
    for (int v = 0; v < VARIANTS; v++)
        CHECK(samples[v] = malloc((size_t)count * sizeof **samples));
}

static int rounds_of(const struct path *path)
{
    int count = (int)(rounds * path->share);
    return count < 8 ? 8 : count;
}

/* In the process that measures: measures one path, if it was asked for, and writes the samples to
 * standard output. */
static void measure_path(const struct path *path)
{
    if (!wanted(path->name))
        return;
    struct heading heading = {.bound = path->bound, .count = rounds_of(path)};
    snprintf(heading.title, sizeof heading.title, "%s", current_title);
    snprintf(heading.name, sizeof heading.name, "%s", path->name);
    double *samples[VARIANTS], *clocks = malloc((size_t)heading.count * sizeof *clocks);
    CHECK(clocks);
    allocate(samples, heading.count);
    for (int round = -8; round < heading.count; round++) { /* the first eight warm up */
        const int *order = order_of(round + 8);
        for (int i = 0; i < VARIANTS; i++) {
            double taken = time_batch(path, &apis[order[i]]);
            if (round >= 0)
                samples[order[i]][round] = taken;
        }
        if (path->bound == CLOCKS && round >= 0)
            clocks[round] = time_clock(path->calls);
    }
    if (path->bound == CLOCKS)
        heading.clock = summarise(clocks, heading.count).median;
    CHECK(fwrite(&heading, sizeof heading, 1, stdout) == 1);
    for (int v = 0; v < VARIANTS; v++) {
        CHECK(fwrite(samples[v], sizeof **samples, (size_t)heading.count, stdout) == (size_t)heading.count);
        free(samples[v]);
    }
    free(clocks);
}

static void measure_paths(bool all)
{
    for (int i = 0; i < PATHS; i++)
        if (all || paths[i].again)
            measure_path(&paths[i]);
}

/* In the process that prints: appends one path's samples to those of the processes before. */
static bool merge(FILE *from)
{
    struct heading heading;
    if (fread(&heading, sizeof heading, 1, from) != 1)
        return false;
    int at = 0;
    while (at < table_rows && (strcmp(table[at].heading.name, heading.name) ||
                               strcmp(table[at].heading.title, heading.title)))
        at++;
    struct table_row *row = &table[at];
    if (at == table_rows) {
        table_rows++;
        row->heading = heading;
        allocate(row->samples, heading.count * PROCESSES);
    }
    for (int v = 0; v < VARIANTS; v++) {
        double *place = row->samples[v] + row->processes * heading.count;
        CHECK(fread(place, sizeof *place, (size_t)heading.count, from) == (size_t)heading.count);
    }
    row->clocks[row->processes++] = heading.clock;
    return true;
}

/* ---- the table ------------------------------------------------------------------------------- */

struct row {
    struct summary of[VARIANTS];
    struct summary shim, floor; /* over the forwarder */
};

/* What variant `v` took beyond the forwarder: the median of the differences within the rounds, and
 * of the differences of the minima, one for each process. */
static struct summary over_forwarder(double *samples[VARIANTS], int v, int count, int processes)
{
    double *differences = malloc((size_t)count * sizeof *differences), of_least[PROCESSES_MOST];
    CHECK(differences);
    for (int i = 0; i < count; i++)
        differences[i] = samples[v][i] - samples[FORWARDER][i];
    struct summary over = {.median = summarise(differences, count).median};
    free(differences);
    int each = count / processes;
    for (int process = 0; process < processes; process++) {
        double least[VARIANTS];
        for (int which = 0; which < VARIANTS; which++) {
            least[which] = samples[which][process * each];
            for (int i = process * each; i < (process + 1) * each; i++)
                if (samples[which][i] < least[which])
                    least[which] = samples[which][i];
        }
        of_least[process] = least[v] - least[FORWARDER];
    }
    over.least = summarise(of_least, processes).median;
    return over;
}

/* `samples[v]` has the same number of figures from each process, one for each round. Sorts them. */
static struct row row_of(double *samples[VARIANTS], int count, int processes)
{
    struct row row = {.shim = over_forwarder(samples, SHIM, count, processes),
                      .floor = over_forwarder(samples, LOOKER, count, processes)};
    for (int v = 0; v < VARIANTS; v++)
        row.of[v] = summarise(samples[v], count);
    return row;
}

static void print_heading(const char *title)
{
    printf("\n%s\n%-21s %5s %11s %11s  %11s %5s bound\n", title, "ns a call", "bare", "forwarder", "shim",
           "shim-forw.", "floor");
    printf("%-21s %5s %5s %5s %5s %5s  %5s %5s\n", "", "med", "min", "med", "min", "med", "min", "med");
}

static void print_number(double number)
{
    printf(" %5.*f", number < 1000 ? 1 : 0, number);
}

static void print_row(const char *name, const struct row *row, double bound)
{
    printf("%-21s", name);
    print_number(row->of[BARE].median);
    for (int v = FORWARDER; v < VARIANTS; v += SHIM - FORWARDER) {
        print_number(row->of[v].least);
        print_number(row->of[v].median);
    }
    double floor = row->floor.least < row->floor.median ? row->floor.least : row->floor.median;
    printf("  %+5.1f %+5.1f %+5.1f", row->shim.least, row->shim.median, floor);
    bool kept = row->shim.least <= bound && row->shim.median <= bound;
    if (bound > 0)
        printf(" %3.0f %s", bound, kept ? "ok" : "MISS");
    putchar('\n');
    fflush(stdout);
    if (!json)
        return;
    fprintf(json, "{\"path\":\"%s\"", name);
    for (int v = 0; v < VARIANTS; v++)
        fprintf(json, ",\"%s\":{\"min\":%.2f,\"median\":%.2f}", variant_names[v], row->of[v].least,
                row->of[v].median);
    fprintf(json, ",\"difference\":{\"min\":%.2f,\"median\":%.2f}", row->shim.least, row->shim.median);
    if (bound > 0)
        fprintf(json, ",\"bound\":%.2f,\"ok\":%s", bound, kept ? "true" : "false");
    fputs("}\n", json);
}

static void print_table(void)
{
    const char *title = "";
    for (int i = 0; i < table_rows; i++) {
        struct heading *heading = &table[i].heading;
        if (strcmp(title, heading->title))
            print_heading(title = heading->title);
        struct row row = row_of(table[i].samples, heading->count * table[i].processes, table[i].processes);
        if (heading->clock == 0) {
            print_row(heading->name, &row, heading->bound);
            continue;
        }
        double clock = summarise(table[i].clocks, table[i].processes).median;
        print_row(heading->name, &row, 2 * clock + 10);
        printf("  a clock read        %5.1f (vDSO; the bound above is two of them and 10)\n", clock);
    }
}

/* ---- table 2: one more call, with 1 or with 1,000,000 watched -------------------------------- */

enum { FEW = 64 };

static int *crowd;          /* descriptors that every crowded instance watches */
static int crowd_size;
static int *crowded;        /* those instances: one, if the limit of descriptors allows it */
static int crowded_count;
static int few[FEW];        /* numbers spread over the crowd's: watched only for a moment */

static void add_delete_few(const struct api *api, int calls)
{
    struct epoll_event event = {.events = EPOLLIN};
    int epfd = crowded[crowded_count - 1];
    for (int i = 0; i < calls; i += 2) {
        int fd = few[i / 2 % FEW];
        api->epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &event);
        api->epoll_ctl(epfd, EPOLL_CTL_DEL, fd, NULL);
    }
}

/* A walk over all of them in an order that no prefetcher predicts, so that the kernel misses its
 * caches too. Each batch continues where the last one stopped. Otherwise a variant would find the
 * cache lines that another has just loaded. */
static void modify_anywhere(const struct api *api, int calls)
{
    static uint32_t state = 1;
    struct epoll_event event = {.events = EPOLLIN};
    uint32_t random = state;
    for (int i = 0; i < calls; i++) {
        random = random * 1664525u + 1013904223u;
        int fd = crowd[(random >> 8) % (uint32_t)crowd_size];
        event.data.fd = fd;
        api->epoll_ctl(crowded[(random >> 4) % (uint32_t)crowded_count], EPOLL_CTL_MOD, fd, &event);
    }
    state = random;
}

static void measure_scale(int watched)
{
    char by_turns[64], anywhere[64];
    snprintf(by_turns, sizeof by_turns, "ADD, DEL at %d", watched);
    snprintf(anywhere, sizeof anywhere, "MOD any of %d", watched);
    if (!wanted(by_turns) && !wanted(anywhere))
        return;
    const struct api *owner = &apis[SHIM];
    struct rlimit limit;
    CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    int room = (int)limit.rlim_cur - 4096;
    if (watched <= 100000 && watched > room)
        watched = room;
    crowd_size = watched < room ? watched : room;
    crowded_count = (watched + crowd_size - 1) / crowd_size;
    CHECK(crowd = malloc((size_t)crowd_size * sizeof *crowd));
    CHECK(crowded = malloc((size_t)crowded_count * sizeof *crowded));
    int few_made = 0;
    for (int i = 0; i < crowd_size; i++) {
        crowd[i] = new_eventfd(0);
        if (few_made < FEW && i % (crowd_size / FEW + 1) == 0)
            few[few_made++] = new_eventfd(0);
    }
    while (few_made < FEW)
        few[few_made++] = new_eventfd(0);
    int left = watched;
    for (int e = 0; e < crowded_count; e++) {
        CHECK((crowded[e] = owner->epoll_create1(EPOLL_CLOEXEC)) >= 0);
        for (int i = 0; i < crowd_size && left > 0; i++, left--)
            watch(owner, crowded[e], crowd[i]);
        if (e < crowded_count - 1)
            continue;
        /* The last may be only partly filled: MOD must use pairs that exist. */
        for (int i = 0; i < crowd_size && crowded_count > 1; i++) {
            struct epoll_event event = {.events = EPOLLIN, .data.fd = crowd[i]};
            CHECK(owner->epoll_ctl(crowded[e], EPOLL_CTL_ADD, crowd[i], &event) == 0 || errno == EEXIST);
        }
    }

    struct path pair = {by_turns, 15, 512, .25, NULL, add_delete_few, NULL, false};
    measure_path(&pair);
    struct path any = {anywhere, NO_BOUND, 512, .25, NULL, modify_anywhere, NULL, false};
    measure_path(&any);
    for (int e = 0; e < crowded_count; e++)
        owner->close(crowded[e]);
    for (int i = 0; i < crowd_size; i++)
        owner->close(crowd[i]);
    for (int i = 0; i < FEW; i++)
        owner->close(few[i]);
    free(crowd);
    free(crowded);
}

static void measure_scales(void)
{
    current_title = "One call more, in a crowd of watches (MOD of any: cache lines cold)";
    static const int sizes[] = {1, 1000, 100000, 1000000};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        measure_scale(sizes[i]);
}

/* ---- a process with a second thread ---------------------------------------------------------- */

static pthread_barrier_t end_line;

static void *sleep_to_the_end(void *nothing)
{
    pthread_barrier_wait(&end_line);
    return nothing;
}

/* The process that measures. */
static void child_table(void)
{
    load_all();
    furnish(&apis[SHIM]);
    pin();
    current_title = "Calls";
    measure_paths(true);
    measure_scales();
    pthread_t thread;
    CHECK(pthread_barrier_init(&end_line, NULL, 2) == 0);
    CHECK(pthread_create(&thread, NULL, sleep_to_the_end, NULL) == 0);
    current_title = "Some of them again, in a process of two threads (the other one sleeps)";
    measure_paths(false);
    pthread_barrier_wait(&end_line);
    pthread_join(thread, NULL);
}

static void measure_all(void)
{
    rounds = rounds / PROCESSES < 8 ? 8 : rounds / PROCESSES;
    for (int process = 0; process < PROCESSES; process++) {
        pid_t child;
        FILE *output = again("--child-table", NULL, &child);
        while (merge(output))
            ;
        finished(output, child);
    }
    print_table();
    struct rlimit limit;
    if (!*only && getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < 1010000)
        printf("(of 1000000, many instances watch the same descriptors: RLIMIT_NOFILE is %ld)\n",
               (long)limit.rlim_cur);
}

/* ---- the cross-check, under LD_PRELOAD ------------------------------------------------------- */

/* Prints index, minimum and median of each path. */
static void child_paths(void)
{
    load(&apis[0], RTLD_DEFAULT);
    apis[SHIM] = apis[BARE]; /* the measured library also creates and closes what the paths use */
    furnish(&apis[0]);
    pin();
    for (int p = 0; p < PATHS; p++) {
        if (!wanted(paths[p].name))
            continue;
        int count = rounds_of(&paths[p]);
        double *samples = malloc((size_t)count * sizeof *samples);
        CHECK(samples);
        for (int round = -2; round < count; round++) {
            double taken = time_batch(&paths[p], &apis[0]);
            if (round >= 0)
                samples[round] = taken;
        }
        struct summary summary = summarise(samples, count);
        printf("%d %f %f\n", p, summary.least, summary.median);
        free(samples);
    }
}

static void cross_check(void)
{
    enum { RUNS = PROCESSES_MOST };
    static double least[PATHS][VARIANTS][RUNS], median[PATHS][VARIANTS][RUNS];
    rounds = rounds / RUNS < 24 ? 24 : rounds / RUNS;
    pin();
    for (int run = 0; run < RUNS; run++)
        for (int i = 0; i < VARIANTS; i++) {
            int v = order_of(run)[i], path;
            double low, middle;
            pid_t child;
            FILE *output = again("--child-paths", libraries[v], &child);
            while (fscanf(output, "%d %lf %lf", &path, &low, &middle) == 3) {
                least[path][v][run] = low;
                median[path][v][run] = middle;
            }
            finished(output, child);
        }
    print_heading("The same under LD_PRELOAD, 16 processes a variant in turn");
    for (int p = 0; p < PATHS; p++) {
        if (!wanted(paths[p].name))
            continue;
        double *lows[VARIANTS], *middles[VARIANTS];
        for (int v = 0; v < VARIANTS; v++) {
            lows[v] = least[p][v];
            middles[v] = median[p][v];
        }
        struct row row = row_of(middles, RUNS, RUNS), of_lows = row_of(lows, RUNS, RUNS);
        for (int v = 0; v < VARIANTS; v++)
            row.of[v].least = of_lows.of[v].least;
        row.shim.least = of_lows.shim.median;
        row.floor.least = of_lows.floor.median;
        print_row(paths[p].name, &row, NO_BOUND);
    }
}

int main(int count, char **arguments)
{
    raise_limits();
    bool table_child = is_child(&count, arguments, "--child-table");
    bool paths_child = is_child(&count, arguments, "--child-paths");
    read_arguments(count, arguments);
    if (table_child)
        child_table();
    else if (paths_child)
        child_paths();
    else if (self)
        cross_check();
    else
        measure_all();
    return 0;
}
