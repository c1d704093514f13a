/* What a recording must contain after a SIGKILL, and while the program runs. The first argument
 * says what to do:
 *
 * opens          200 sockets, and no epoll call
 * waits          leaks a socket, then waits 5 ms, until it is killed
 * late LIBRARY   a library that is loaded after the recording has begun leaks 40 descriptors
 * flat NUMBER    opens and closes that many descriptors; prints the resident KiB and the bytes of
 *                the recordings in EPOLLSHIM_RECORD after a tenth of them, and at the end
 * child          forks with 20 sockets open; the child leaks 40 more
 *
 * All but the fourth end by SIGKILL. */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "killed.h"

static void leak(int count) {
    while (count-- > 0) {
        usleep(1000);
        socket(AF_INET, SOCK_STREAM, 0);
    }
}

static long resident(void) {
    long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (!file || fscanf(file, "%*d %ld", &pages) != 1)
        exit(3);
    fclose(file);
    return pages * sysconf(_SC_PAGESIZE) / 1024;
}

static long recorded(void) {
    long bytes = 0;
    const char *at = getenv("EPOLLSHIM_RECORD");
    DIR *directory = at ? opendir(at) : NULL;
    struct dirent *entry;
    while (directory && (entry = readdir(directory))) {
        struct stat status;
        if (fstatat(dirfd(directory), entry->d_name, &status, 0) == 0 && S_ISREG(status.st_mode))
            bytes += status.st_size;
    }
    if (directory)
        closedir(directory);
    return bytes;
}

static void flat(long count) {
    /* What these need, once. */
    resident();
    recorded();
    for (long i = 0; i < count; i++) {
        if (close(open("/dev/null", O_RDONLY | O_CLOEXEC)))
            exit(4);
        if (i == count / 10 || i == count - 1)
            printf("%ld %ld\n", resident(), recorded());
    }
    exit(0);
}

int main(int count, char **words) {
    const char *what = count > 1 ? words[1] : "";
    if (!strcmp(what, "opens"))
        leak(200);
    if (!strcmp(what, "waits")) {
        int epfd = epoll_create1(EPOLL_CLOEXEC);
        struct epoll_event event;
        for (int i = 0; i < 2000; i++) {
            leak(1);
            epoll_wait(epfd, &event, 1, 5);
        }
    }
    if (!strcmp(what, "late") && count > 2) {
        leak(1);
        void *library = dlopen(words[2], RTLD_NOW);
        void (*leak_late)(void) = library ? (void (*)(void))dlsym(library, "leak_late") : NULL;
        if (!leak_late)
            return 5;
        leak_late();
    }
    if (!strcmp(what, "flat") && count > 2)
        flat(atol(words[2]));
    if (!strcmp(what, "child")) {
        leak(20);
        if (fork() == 0) {
            leak(40);
            be_killed_by(SIGKILL);
        }
        wait(NULL);
    }
    be_killed_by(SIGKILL);
    return 6;
}
