/* What a call costs in a server: after a message that went over loopback and came back.
 *
 *   cold FORWARDER LOOKER SHIM [--rounds N] [--only WORDS] [--json FILE]
 *
 * The other programs repeat a call in a loop, so that its code and data are in the nearest cache
 * and its branches are predicted. Here the kernel's network code runs between two calls, as in a
 * server. Only the call is timed (by the TSC). The figures show what a cache line of the hooks'
 * code or data costs. They have no bound (docs/performance.md, "The machine"). */
#include "bench.h"
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <x86intrin.h>

enum { PER_ROUND = 16 };

static int ends[2], epfd, ready, empty, silent, other;
static struct epoll_event got[8];

static void connect_ends(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
    CHECK(bind(listener, (struct sockaddr *)&address, length) == 0 && listen(listener, 1) == 0);
    CHECK(getsockname(listener, (struct sockaddr *)&address, &length) == 0);
    CHECK((ends[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) >= 0);
    CHECK(connect(ends[0], (struct sockaddr *)&address, length) == 0);
    CHECK((ends[1] = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) >= 0);
    for (int i = 0; i < 2; i++)
        CHECK(setsockopt(ends[i], IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) == 0);
    close(listener);
}

static void there_and_back(void)
{
    char byte = 1;
    CHECK(send(ends[0], &byte, 1, 0) == 1 && recv(ends[1], &byte, 1, 0) == 1);
    CHECK(send(ends[1], &byte, 1, 0) == 1 && recv(ends[0], &byte, 1, 0) == 1);
}

static int wait_nothing(const struct api *api) { return api->epoll_wait(silent, got, 8, 0); }
static int wait_event(const struct api *api) { return api->epoll_wait(epfd, got, 8, 0) - 1; }
static int wait_blocking(const struct api *api) { return api->epoll_wait(epfd, got, 8, 1000) - 1; }

static int modify(const struct api *api)
{
    struct epoll_event event = {.events = EPOLLIN, .data.fd = empty};
    return api->epoll_ctl(silent, EPOLL_CTL_MOD, empty, &event);
}

static int add(const struct api *api)
{
    struct epoll_event event = {.events = EPOLLIN, .data.fd = other};
    return api->epoll_ctl(silent, EPOLL_CTL_ADD, other, &event);
}

static int delete(const struct api *api) { return api->epoll_ctl(silent, EPOLL_CTL_DEL, other, NULL); }

static int duplicate;
static int close_unknown(const struct api *api) { return api->close(duplicate); }
static void make_duplicate(const struct api *api) { CHECK((duplicate = api->dup(ends[0])) >= 0); }
static void add_first(const struct api *api) { CHECK(add(api) == 0); }
static void delete_then(const struct api *api) { CHECK(delete(api) == 0); }

static const struct path {
    const char *name;
    void (*before)(const struct api *);
    int (*call)(const struct api *);
    void (*after)(const struct api *);
} paths[] = {
    {"epoll_wait 0, none", NULL, wait_nothing, NULL},
    {"epoll_wait 0, 1 event", NULL, wait_event, NULL},
    {"epoll_wait 1 s, ready", NULL, wait_blocking, NULL},
    {"epoll_ctl MOD", NULL, modify, NULL},
    {"epoll_ctl ADD", NULL, add, delete_then},
    {"epoll_ctl DEL", add_first, delete, NULL},
    {"close, unknown", make_duplicate, close_unknown, NULL},
};

static double one(const struct path *path, const struct api *api)
{
    unsigned processor;
    if (path->before)
        path->before(api);
    there_and_back();
    uint64_t start = __rdtscp(&processor);
    _mm_lfence();
    int result = path->call(api);
    uint64_t end = __rdtscp(&processor);
    if (result)
        die("%s: %d, %s", path->name, result, strerror(errno));
    if (path->after)
        path->after(api);
    return (double)(end - start);
}

/* The mean of the lower nine tenths: the counter's steps are too coarse for a median. */
static double trimmed_mean(double *samples, int count)
{
    double sum = 0;
    summarise(samples, count);
    for (int i = 0; i < count * 9 / 10; i++)
        sum += samples[i];
    return sum / (count * 9 / 10);
}

static double ticks_a_ns(void)
{
    unsigned processor;
    double time = now_ns();
    uint64_t start = __rdtscp(&processor);
    while (now_ns() - time < 2e7) {
    }
    return (double)(__rdtscp(&processor) - start) / (now_ns() - time);
}

int main(int count, char **arguments)
{
    read_arguments(count, arguments);
    load_all();
    pin();
    connect_ends();
    const struct api *owner = &apis[SHIM];
    CHECK((epfd = owner->epoll_create1(EPOLL_CLOEXEC)) >= 0 && (silent = owner->epoll_create1(EPOLL_CLOEXEC)) >= 0);
    ready = watch(owner, epfd, new_eventfd(1));
    empty = watch(owner, silent, new_eventfd(0));
    other = new_eventfd(0);
    double ticks = ticks_a_ns();
    printf("\nBehind a message over loopback and back (caches as a server finds them; means of the lower nine tenths)\n"
           "%-34s %11s %11s %11s %s\n",
           "ns a call", "bare", "forwarder", "shim", "shim-forw.");
    for (size_t p = 0; p < sizeof paths / sizeof *paths; p++) {
        if (!strstr(paths[p].name, only))
            continue;
        double *samples[VARIANTS], figures[VARIANTS];
        for (int v = 0; v < VARIANTS; v++)
            CHECK(samples[v] = calloc((size_t)rounds * PER_ROUND, sizeof **samples));
        for (int round = 0; round < rounds; round++)
            for (int i = 0; i < VARIANTS; i++) {
                int v = order_of(round)[i];
                one(&paths[p], &apis[v]);
                for (int j = 0; j < PER_ROUND; j++)
                    samples[v][round * PER_ROUND + j] = one(&paths[p], &apis[v]) / ticks;
            }
        for (int v = 0; v < VARIANTS; v++) {
            figures[v] = trimmed_mean(samples[v], rounds * PER_ROUND);
            free(samples[v]);
        }
        print_figures(paths[p].name, figures, " %11.1f");
        printf(" %+10.1f\n", figures[SHIM] - figures[FORWARDER]);
        fflush(stdout);
        if (json)
            fprintf(json, "{\"path\":\"cold %s\",\"bare\":%.1f,\"forwarder\":%.1f,\"shim\":%.1f}\n", paths[p].name, figures[BARE],
                    figures[FORWARDER], figures[SHIM]);
    }
    return 0;
}
