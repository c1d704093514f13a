/* How much memory the ledger takes: the growth of the resident set, for an instance and for a
 * watch, under LD_PRELOAD.
 *
 *   memory FORWARDER LOOKER SHIM [--json FILE] */
#include "bench.h"

enum { INSTANCES = 4000, EACH = 10000, TIMES = 20 };

static long resident_bytes(void)
{
    long size, resident;
    FILE *file = fopen("/proc/self/statm", "r");
    CHECK(file && fscanf(file, "%ld %ld", &size, &resident) == 2);
    fclose(file);
    return resident * sysconf(_SC_PAGESIZE);
}

/* Prints by how many bytes the resident set grew for an instance, and for a watch. */
static void child_memory(void)
{
    load(&apis[0], RTLD_DEFAULT);
    const struct api *api = &apis[0];
    int *fds = calloc(EACH, sizeof *fds), *epfds = calloc(INSTANCES, sizeof *epfds);
    CHECK(fds && epfds);
    memset(fds, 1, EACH * sizeof *fds);
    memset(epfds, 1, INSTANCES * sizeof *epfds);
    for (int i = 0; i < EACH; i++)
        fds[i] = new_eventfd(0);
    api->close(api->epoll_create1(EPOLL_CLOEXEC));
    resident_bytes(); /* stdio's own memory */
    long before = resident_bytes();
    for (int i = 0; i < INSTANCES; i++)
        CHECK((epfds[i] = api->epoll_create1(EPOLL_CLOEXEC)) >= 0);
    long between = resident_bytes();
    for (int e = 0; e < TIMES; e++)
        for (int i = 0; i < EACH; i++)
            watch(api, epfds[e], fds[i]);
    long after = resident_bytes();
    printf("%f %f\n", (double)(between - before) / INSTANCES, (double)(after - between) / (EACH * TIMES));
}

static void print_memory(const char *name, const double bytes[VARIANTS], double bound)
{
    char text[16];
    snprintf(text, sizeof text, "%.0f", bound);
    print_figures(name, bytes, " %11.1f");
    judge(name, bytes, text, bytes[SHIM] - bytes[FORWARDER] <= bound);
}

int main(int count, char **arguments)
{
    raise_limits();
    bool child = is_child(&count, arguments, "--child-memory");
    read_arguments(count, arguments);
    if (child) {
        child_memory();
        return 0;
    }
    double instance[VARIANTS], one_watch[VARIANTS];
    for (int i = 0; i < SHOWN; i++) {
        pid_t process;
        FILE *output = again("--child-memory", libraries[shown[i]], &process);
        CHECK(fscanf(output, "%lf %lf", &instance[shown[i]], &one_watch[shown[i]]) == 2);
        finished(output, process);
    }
    print_figures_heading("Memory of the ledger (growth of the resident set under LD_PRELOAD)", "bytes");
    print_memory("memory of an instance (of 4,000)", instance, 512);
    print_memory("memory of a watch (of 200,000)", one_watch, 64);
    return 0;
}
