/* Eight threads create, duplicate, pass on, replace and close descriptors as fast as they can,
 * their own and each other's, and start children by fork and vfork that do the same. At the end the
 * census must equal /proc/self/fd.
 *
 * census_storm SECONDS REPORT CHILD
 *     writes the report of this process and that of a forked child to these files, and prints
 *     what /proc/self/fd lists in both, by number */
#include "check.h"
#include <sys/timerfd.h>

enum { THREADS = 8, OWN = 48, MAILBOXES = 64 };

static int mailboxes[MAILBOXES];
static volatile int stop;

static unsigned next(unsigned *seed) { return *seed = *seed * 1103515245 + 12345, *seed >> 8; }

/* Sends the file through a socket and back: it gets another number. */
static int passed(int fd) {
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_DGRAM, 0, pair)) return -1;
    char space[CMSG_SPACE(sizeof fd)], byte = 0;
    struct iovec piece = {&byte, 1};
    struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1, .msg_control = space, .msg_controllen = sizeof space};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    memset(space, 0, sizeof space);
    header->cmsg_level = SOL_SOCKET, header->cmsg_type = SCM_RIGHTS, header->cmsg_len = CMSG_LEN(sizeof fd);
    memcpy(CMSG_DATA(header), &fd, sizeof fd);
    int got = -1;
    if (sendmsg(pair[0], &message, 0) == 1 && recvmsg(pair[1], &message, MSG_CMSG_CLOEXEC) == 1 &&
        (header = CMSG_FIRSTHDR(&message)) != NULL && header->cmsg_type == SCM_RIGHTS)
        memcpy(&got, CMSG_DATA(header), sizeof got);
    close(pair[0]), close(pair[1]);
    return got;
}

static void child_of(int *own, int count) {
    for (int i = 0; i < count; i += 2) close(own[i]);
    dup2(0, own[1]);
    open("/dev/null", O_RDONLY);
    _exit(0);
}

static void *storm(void *argument) {
    unsigned seed = (unsigned)(uintptr_t)argument;
    int own[OWN], count = 0, pair[2], status;
    while (!stop) {
        unsigned choice = next(&seed) % 1000;
        int other = count ? own[next(&seed) % (unsigned)count] : -1, fd = -1;
        if (count >= OWN - 2 || (count > 2 && choice < 300)) {
            int at = (int)(next(&seed) % (unsigned)count);
            if (choice % 3) QUIETLY(close(own[at]) == 0);
            else if (choice % 2) QUIETLY(close_range((unsigned)own[at], (unsigned)own[at], 0) == 0);
            else QUIETLY(syscall(SYS_close, own[at]) == 0);
            own[at] = own[--count];
            continue;
        }
        switch (choice % 11) {
        case 0: fd = open("/dev/null", O_RDONLY | O_CLOEXEC); break;
        case 1: fd = openat(AT_FDCWD, "/", O_RDONLY | O_DIRECTORY); break;
        case 2: fd = eventfd(0, 0); break;
        case 3: fd = timerfd_create(CLOCK_MONOTONIC, 0); break;
        case 4: fd = dup(other); break;
        case 5: fd = fcntl(other, F_DUPFD_CLOEXEC, 0); break;
        case 6: if (count > 1) QUIETLY(dup2(other, own[0]) == own[0]); break;
        case 7: if (count) fd = passed(other); break;
        case 8:
            if (pipe2(pair, O_CLOEXEC) == 0) own[count++] = pair[0], own[count++] = pair[1];
            break;
        case 9: fd = epoll_create1(0); break;
        default:
            /* Exchanges it with what another thread left there. */
            if (count) {
                fd = own[--count];
                fd = __atomic_exchange_n(&mailboxes[next(&seed) % MAILBOXES], fd + 1, __ATOMIC_ACQ_REL) - 1;
            }
        }
        if (fd >= 0) own[count++] = fd;
        if (count > 2 && next(&seed) % 2000 == 0) {
            pid_t child = fork();
            if (child == 0) child_of(own, count);
            QUIETLY(waitpid(child, &status, 0) == child);
        }
        if (count > 2 && next(&seed) % 700 == 0) {
            pid_t child = vfork();
            if (child == 0) child_of(own, count);
            QUIETLY(waitpid(child, &status, 0) == child);
        }
    }
    for (; count > OWN / 4; count--) close(own[count - 1]);
    return NULL;
}

/* The open descriptors, except the one that this function reads them by. */
static void tell_open(const char *who) {
    DIR *directory = opendir("/proc/self/fd");
    struct dirent *entry;
    printf("%s", who);
    while ((entry = readdir(directory)) != NULL)
        if (entry->d_name[0] != '.' && atoi(entry->d_name) != dirfd(directory)) printf(" %s", entry->d_name);
    printf("\n");
    closedir(directory);
    fflush(stdout);
}

static void report(const char *path, const char *who) {
    int (*write_report)(int) = (int (*)(int))(uintptr_t)dlsym(RTLD_DEFAULT, "epollshim_report");
    int file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    QUIETLY(write_report && write_report(file) == 0);
    tell_open(who);
}

int main(int count, char **words) {
    pthread_t threads[THREADS];
    if (count != 4) return 2;
    for (uintptr_t i = 0; i < THREADS; i++) pthread_create(&threads[i], NULL, storm, (void *)(i * 7919 + 1));
    sleep((unsigned)atoi(words[1]));
    stop = 1;
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    report(words[2], "parent");
    pid_t child = fork();
    if (child == 0) {
        close(open("/dev/null", O_RDONLY));
        dup(0);
        report(words[3], "child");
        _exit(checks_failed);
    }
    QUIETLY(status_of(child) == 0);
    return checks_failed;
}
