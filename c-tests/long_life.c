/* What a server does for months, a few hundred thousand times: its memory must not keep growing. */
#include "check.h"

#define TIMES 100000
#define LEEWAY (3L << 20)

static int epfd;

static long resident(void) {
    char text[128] = "";
    int file = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    long pages = 0;
    if (read(file, text, sizeof text - 1) <= 0 || sscanf(text, "%*d %ld", &pages) != 1) pages = 0;
    close(file);
    return pages * sysconf(_SC_PAGESIZE);
}

static void instances(void) {
    int own = epoll_create1(0);
    QUIETLY(close(own) == 0);
}
static void interests(void) {
    int fd = eventfd(0, 0);
    QUIETLY(add(epfd, fd, EPOLLIN) == 0 && epoll_ctl(epfd, EPOLL_CTL_DEL, fd, NULL) == 0 && close(fd) == 0);
}
static void closed_without_del(void) {
    int fd = eventfd(0, 0);
    QUIETLY(add(epfd, fd, EPOLLIN) == 0 && close(fd) == 0);
}
static void dup_after_add(void) {
    int fd = eventfd(0, 0);
    QUIETLY(add(epfd, fd, EPOLLIN) == 0);
    int copy = dup(fd);
    QUIETLY(close(fd) == 0 && close(copy) == 0);
}
/* As fdopen(dup(fd)) before registering does. */
static void dup_before_add(void) {
    int fd = eventfd(0, 0), copy = dup(fd);
    QUIETLY(add(epfd, fd, EPOLLIN) == 0 && close(fd) == 0 && close(copy) == 0);
}
static void closed_behind_us(void) {
    static int every;
    if (every++ % 4) return;
    int ends[2];
    QUIETLY(pipe(ends) == 0 && add(epfd, ends[0], EPOLLIN) == 0);
    QUIETLY(fclose(fdopen(ends[0], "r")) == 0 && close(ends[1]) == 0);
}
static void *thread_of(void *unused) {
    instances();
    return unused;
}
static void threads(void) {
    static int every;
    pthread_t thread;
    if (every++ % 40) return;
    QUIETLY(pthread_create(&thread, NULL, thread_of, NULL) == 0);
    pthread_join(thread, NULL);
}

int main(void) {
    static const struct {
        const char *name;
        void (*once)(void);
    } habits[] = {{"instances come and go", instances},
                  {"interests are added and deleted", interests},
                  {"descriptors are closed without DEL", closed_without_del},
                  {"watched descriptors are dupped", dup_after_add},
                  {"dupped descriptors are watched", dup_before_add},
                  {"descriptors are closed by fclose", closed_behind_us},
                  {"threads come and go", threads}};
    epfd = WORKS(epoll_create1(0));
    for (size_t i = 0; i < sizeof habits / sizeof *habits; i++) {
        for (int j = 0; j < TIMES / 20; j++) habits[i].once();
        long before = resident();
        for (int j = 0; j < TIMES; j++) habits[i].once();
        long grown = resident() - before;
        if (grown < LEEWAY) {
            say("ok   %s: no growth\n", habits[i].name);
        } else {
            checks_failed = 1;
            say("FAIL %s: expected to grow by less than %ld KiB, grew by %ld KiB\n", habits[i].name, LEEWAY >> 10, grown >> 10);
        }
    }
    LEDGER_AGREES();
    return verdict();
}
