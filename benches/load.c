/* Loads four instances of one server in turn, and prints what an operation costs each of them in
 * processor time.
 *
 *   load redis|nginx|memcached CONNECTIONS ROUNDS PID:PORT PID:PORT PID:PORT PID:PORT
 *
 * It prints a line for each round and a column for each instance: nanoseconds of processor time per
 * operation. A round is a slice of 4,000 operations of each instance, in an order that changes. A
 * connection has one request in flight at a time. The time is that of all the server's threads,
 * from /proc/PID/task/TID/schedstat (/proc/PID/stat shows the same in hundredths of a second). It
 * does not include waiting for a processor. It does include cache misses that other processes
 * cause.
 *
 * It is a load generator of its own, because existing ones lack what matters here: a fixed number
 * of operations in slices this short, over connections that outlive them, with the same number of
 * connections for each worker process. (A worker with few connections sleeps more often, and each
 * of its operations costs more.) If there are two processors, the servers use the first and this
 * program the second. */
#include "bench.h"
#include <arpa/inet.h>
#include <dirent.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

enum { CONNECTIONS = 64, OPERATIONS = 4000, WORKERS = 8, THREADS = 64, PATIENCE_MS = 10000 };

static const struct protocol {
    const char *server, *first, *request;
} protocols[] = {
    {"redis", "SET key some-value-of-thirty-two-bytes..\r\n", "*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n"},
    {"nginx", NULL, "GET /hello HTTP/1.1\r\nHost: localhost\r\n\r\n"},
    {"memcached", "set key 0 0 32\r\nsome-value-of-thirty-two-bytes..\r\n", "get key\r\n"},
};

static const struct protocol *protocol;
/* How many connections are made to each instance: at most CONNECTIONS. */
static int connections;

struct instance {
    int port, epfd, connections[CONNECTIONS];
    /* The length of an answer, and how much of one has arrived on each connection. */
    long answer, come[CONNECTIONS];
    /* The process and its children. How many descriptors each has that are not our connections, and
     * how many of our connections each has. */
    pid_t processes[1 + WORKERS];
    int workers, others[1 + WORKERS], share[1 + WORKERS];
    /* Its threads' files of times. */
    int threads, times[THREADS];
};

enum { INSTANCES = VARIANTS };
static struct instance instances[INSTANCES];

/* ---- talking to it --------------------------------------------------------------------------- */

static int connect_to(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    for (int waited = 0; waited < PATIENCE_MS; waited += 100) {
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
        CHECK(fd >= 0);
        if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0) {
            CHECK(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) == 0);
            return fd;
        }
        close(fd);
        usleep(100000);
    }
    die("port %d: nobody listens, after %d ms", port, PATIENCE_MS);
}

static void say(int fd, const char *words)
{
    CHECK(write(fd, words, strlen(words)) == (ssize_t)strlen(words));
}

/* How many bytes arrive on `fd`, until nothing has arrived for a twentieth of a second. */
static long hear_all(int fd)
{
    char bytes[65536];
    long length = 0;
    for (int waited = 0; waited < PATIENCE_MS; waited += 50) {
        usleep(50000);
        ssize_t more = recv(fd, bytes, sizeof bytes, MSG_DONTWAIT);
        if (more > 0)
            length += more;
        else if (length)
            return length;
    }
    die("no answer, after %d ms", PATIENCE_MS);
}

/* Reads what has arrived of an answer. True: the answer is complete. */
static bool hear(struct instance *instance, int which, int flags)
{
    static char bytes[65536];
    ssize_t more = recv(instance->connections[which], bytes, sizeof bytes, flags);
    if (more <= 0)
        die("port %d: the connection ended", instance->port);
    instance->come[which] += more;
    if (instance->come[which] > instance->answer)
        die("port %d: an answer is longer than the first one", instance->port);
    if (instance->come[which] < instance->answer)
        return false;
    instance->come[which] = 0;
    return true;
}

/* ---- its processes --------------------------------------------------------------------------- */

/* Walks a directory of numbers in a process's /proc: its threads, its descriptors. Returns how many
 * there are. */
static int each_of(pid_t process, const char *what, void (*act)(struct instance *, const char *path), struct instance *instance)
{
    char path[64];
    int count = 0;
    snprintf(path, sizeof path, "/proc/%d/%s", process, what);
    DIR *directory = opendir(path);
    CHECK(directory);
    for (struct dirent *entry; (entry = readdir(directory));) {
        char name[64 + sizeof entry->d_name];
        snprintf(name, sizeof name, "%s/%s", path, entry->d_name);
        if (entry->d_name[0] == '.')
            continue;
        count++;
        if (act)
            act(instance, name);
    }
    closedir(directory);
    return count;
}

static int descriptors_of(pid_t process)
{
    return each_of(process, "fd", NULL, NULL);
}

static bool has_two_processors(void)
{
    return sysconf(_SC_NPROCESSORS_ONLN) > 1;
}

static void move_to(pid_t thread, int processor)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(processor, &set);
    CHECK(sched_setaffinity(thread, sizeof set, &set) == 0);
}

static void take_thread(struct instance *instance, const char *path)
{
    char name[512];
    snprintf(name, sizeof name, "%s/schedstat", path);
    CHECK(instance->threads < THREADS);
    CHECK((instance->times[instance->threads++] = open(name, O_RDONLY | O_CLOEXEC)) >= 0);
    if (has_two_processors())
        move_to(atoi(strrchr(path, '/') + 1), 0);
}

static void find_processes(struct instance *instance)
{
    char path[64];
    pid_t main = instance->processes[0];
    snprintf(path, sizeof path, "/proc/%d/task/%d/children", main, main);
    FILE *children = fopen(path, "re");
    CHECK(children);
    for (int child; fscanf(children, "%d", &child) == 1;) {
        CHECK(instance->workers < WORKERS);
        instance->processes[++instance->workers] = child;
    }
    fclose(children);
    for (int p = 0; p <= instance->workers; p++) {
        instance->others[p] = descriptors_of(instance->processes[p]);
        each_of(instance->processes[p], "task", take_thread, instance);
    }
}

/* Nanoseconds of processor time that its threads have used. */
static double used_by(const struct instance *instance)
{
    double sum = 0;
    for (int i = 0; i < instance->threads; i++) {
        char words[128] = "";
        CHECK(pread(instance->times[i], words, sizeof words - 1, 0) > 0);
        sum += strtod(words, NULL);
    }
    return sum;
}

/* ---- its connections ------------------------------------------------------------------------- */

/* Whether the worker that accepted a new connection has at most its share including it. If so,
 * counts the connection. */
static bool is_welcome(struct instance *instance)
{
    for (int p = 1; p <= instance->workers; p++)
        if (descriptors_of(instance->processes[p]) > instance->others[p] + instance->share[p]) {
            if (instance->share[p] * instance->workers >= connections)
                return false;
            instance->share[p]++;
            return true;
        }
    return instance->workers == 0;
}

static void close_all_of_it(struct instance *instance, int fd)
{
    int before = 0, now = 0;
    for (int p = 1; p <= instance->workers; p++)
        before += descriptors_of(instance->processes[p]);
    close(fd);
    for (int waited = 0; waited < PATIENCE_MS; waited++, now = 0) {
        for (int p = 1; p <= instance->workers; p++)
            now += descriptors_of(instance->processes[p]);
        if (now < before)
            return;
        usleep(1000);
    }
    die("port %d: the server does not close a connection that was, after %d ms", instance->port, PATIENCE_MS);
}

static void begin(struct instance *instance)
{
    int first = connect_to(instance->port);
    if (protocol->first) {
        say(first, protocol->first);
        hear_all(first);
    }
    say(first, protocol->request);
    instance->answer = hear_all(first);
    close(first);
    /* After that the server has closed it too. */
    usleep(100000);
    find_processes(instance);
    CHECK((instance->epfd = epoll_create1(EPOLL_CLOEXEC)) >= 0);
    for (int i = 0, tries = 0; i < connections;) {
        int fd = instance->connections[i] = connect_to(instance->port);
        /* A request, so that a worker has accepted it. */
        say(fd, protocol->request);
        while (!hear(instance, i, 0)) {
        }
        if (!is_welcome(instance)) {
            if (tries++ > 100 * CONNECTIONS)
                die("port %d: one worker gets all connections", instance->port);
            close_all_of_it(instance, fd);
            continue;
        }
        struct epoll_event event = {.events = EPOLLIN, .data.u32 = (uint32_t)i++};
        CHECK(epoll_ctl(instance->epfd, EPOLL_CTL_ADD, fd, &event) == 0);
    }
}

/* ---- the load -------------------------------------------------------------------------------- */

/* `OPERATIONS` requests and their answers, one at a time on each connection. */
static void load_slice(struct instance *instance)
{
    int asked = 0;
    for (; asked < connections; asked++)
        say(instance->connections[asked], protocol->request);
    for (int answered = 0; answered < OPERATIONS;) {
        struct epoll_event events[CONNECTIONS];
        int count = epoll_wait(instance->epfd, events, CONNECTIONS, PATIENCE_MS);
        if (count <= 0)
            die("port %d: no answer, after %d ms", instance->port, PATIENCE_MS);
        for (int i = 0; i < count; i++) {
            int which = (int)events[i].data.u32;
            if (!hear(instance, which, MSG_DONTWAIT))
                continue;
            answered++;
            if (asked < OPERATIONS) {
                asked++;
                say(instance->connections[which], protocol->request);
            }
        }
    }
}

static double cost_of_slice(struct instance *instance)
{
    double before = used_by(instance);
    load_slice(instance);
    return (used_by(instance) - before) / OPERATIONS;
}

int main(int count, char **arguments)
{
    for (size_t i = 0; count == 4 + INSTANCES && i < sizeof protocols / sizeof *protocols; i++)
        if (strcmp(arguments[1], protocols[i].server) == 0)
            protocol = &protocols[i];
    connections = protocol ? atoi(arguments[2]) : 0;
    if (connections < 1 || connections > CONNECTIONS)
        die("usage: redis|nginx|memcached CONNECTIONS ROUNDS PID:PORT PID:PORT PID:PORT PID:PORT");
    for (int i = 0; i < INSTANCES; i++) {
        struct instance *instance = &instances[i];
        if (sscanf(arguments[4 + i], "%d:%d", &instance->processes[0], &instance->port) != 2)
            die("%s: not PID:PORT", arguments[4 + i]);
        begin(instance);
    }
    if (has_two_processors())
        move_to(0, 1);
    for (int i = 0; i < INSTANCES; i++)
        load_slice(&instances[i]);
    for (int round = 0; round < atoi(arguments[3]); round++) {
        double costs[INSTANCES];
        for (int i = 0; i < INSTANCES; i++) {
            int which = order_of(round)[i];
            costs[which] = cost_of_slice(&instances[which]);
        }
        printf("%.1f %.1f %.1f %.1f\n", costs[0], costs[1], costs[2], costs[3]);
    }
    return 0;
}
