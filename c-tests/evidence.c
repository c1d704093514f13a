/* Leaks sockets in the way that its first argument names, and has an epoll instance:
 *
 * numbers N     until the limit N of descriptors, which cannot be raised
 * memory        with no address space left, not even a page (RLIMIT_AS)
 * user          starts as root, which it then gives up
 * user chroot   the same, in another root directory */
#include "check.h"

#include <sys/socket.h>

#define SOCKETS 40

static int epfd;

static void leak(int count) {
    for (int i = 0; i < count; i++) {
        int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        if (fd >= 0) epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &(struct epoll_event){.events = EPOLLIN});
        events_of(epfd, 0);
    }
}

static void *leak_in_thread(void *unused) {
    leak(SOCKETS / 2);
    for (int i = 0; i < 3000; i++) events_of(epfd, 0);
    return unused;
}

static void take_all_memory(void) {
    unsigned long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    QUIETLY(file != NULL && fscanf(file, "%lu", &pages) == 1 && fclose(file) == 0);
    rlim_t bytes = pages * 4096;
    GIVES(setrlimit(RLIMIT_AS, &(struct rlimit){bytes, bytes}), 0);
    while (mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED) continue;
}

int main(int count, char **arguments) {
    const char *way = count > 1 ? arguments[1] : "";
    epfd = WORKS(epoll_create1(EPOLL_CLOEXEC));
    if (strcmp(way, "alone") == 0) {
        GIVES(setrlimit(RLIMIT_NPROC, &(struct rlimit){0, 0}), 0);
        if (geteuid() == 0) {
            GIVES(setgid(65534), 0);
            GIVES(setuid(65534), 0);
        }
    }
    if (strcmp(way, "numbers") == 0 || strcmp(way, "alone") == 0) {
        rlim_t most = (rlim_t)atoi(arguments[2]);
        GIVES(setrlimit(RLIMIT_NOFILE, &(struct rlimit){most, most}), 0);
        leak((int)most);
        FAILS(dup(epfd), EMFILE);
        /* More than the library reserves for records when the user changes. */
        for (int i = 0; way[0] == 'a' && i < 40000; i++) events_of(epfd, 0);
    } else if (strcmp(way, "memory") == 0) {
        take_all_memory();
        leak(SOCKETS);
    } else if (strcmp(way, "user") == 0) {
        events_of(epfd, 0);
        GIVES(setgid(65534), 0);
        if (count > 2 && strcmp(arguments[2], "chroot") == 0) GIVES(chroot("/proc"), 0);
        GIVES(count > 2 && strcmp(arguments[2], "raw") == 0 ? syscall(SYS_setuid, 65534) : setuid(65534), 0);
        leak(SOCKETS / 2);
        pthread_t thread;
        QUIETLY(pthread_create(&thread, NULL, leak_in_thread, NULL) == 0 && pthread_join(thread, NULL) == 0);
    }
    return 0;
}
