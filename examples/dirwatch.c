/*
 * dirwatch: says what happens in a directory, a line an event.
 *
 *     cc -o dirwatch examples/dirwatch.c
 *     ./dirwatch /tmp                                              until SIGINT or SIGTERM
 *     LD_PRELOAD=target/release/libepollshim.so ./dirwatch -n 5 /tmp   five events, then a report
 *
 * It is written as programs of 2005 are: it makes its instance by epoll_create(size), and promises that it
 * will watch two descriptors. The kernel has ignored that promise since Linux 2.6.8; the shim still shows it.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/signalfd.h>
#include <unistd.h>

enum { DESCRIPTORS = 2 }; /* the directory's inotify and the signals */

static const struct {
    uint32_t bit;
    const char *name;
} kinds[] = {
    {IN_CREATE, "created"},      {IN_MODIFY, "modified"},        {IN_CLOSE_WRITE, "written"},
    {IN_MOVED_FROM, "moved out"}, {IN_MOVED_TO, "moved in"},      {IN_DELETE, "deleted"},
    {IN_DELETE_SELF, "directory deleted"}, {IN_Q_OVERFLOW, "events were lost"},
};

static void fail(const char *what)
{
    fprintf(stderr, "dirwatch: %s: %s\n", what, strerror(errno));
    exit(EXIT_FAILURE);
}

static void usage(const char *problem, const char *word)
{
    fprintf(stderr, "dirwatch: %s%s; usage: dirwatch [-n COUNT] DIRECTORY\n", problem, word);
    exit(2);
}

static void watch(int epoll, int fd, const char *what)
{
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == -1)
        fail(what);
}

/* Both signals become readable on a descriptor, so that the loop below has one place to wait. */
static int signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    if (sigprocmask(SIG_BLOCK, &set, NULL) == -1)
        fail("sigprocmask");
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* Prints what inotify has; returns how many events may still be printed, 0 when the directory is gone. */
static long drain(int inotify, const char *directory, long left)
{
    char buffer[16 * (sizeof(struct inotify_event) + NAME_MAX + 1)]
        __attribute__((aligned(__alignof__(struct inotify_event))));
    ssize_t length;
    while (left > 0 && (length = read(inotify, buffer, sizeof buffer)) > 0) {
        for (char *at = buffer; at < buffer + length && left > 0;) {
            const struct inotify_event *event = (const struct inotify_event *)at;
            at += sizeof *event + event->len;
            if (event->mask & IN_IGNORED) /* the watch went with the directory */
                return 0;
            for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
                if (event->mask & kinds[i].bit)
                    printf("%s/%s %s\n", directory, event->len ? event->name : "", kinds[i].name);
            left--;
        }
    }
    if (left > 0 && length == -1 && errno != EAGAIN)
        fail("inotify");
    return left;
}

int main(int argc, char **argv)
{
    long left = LONG_MAX;
    int option;
    opterr = 0;
    while ((option = getopt(argc, argv, "+:n:")) != -1) {
        char *end;
        if (option != 'n')
            usage(option == ':' ? "a number must follow -" : "no such option: -", (char[]){(char)optopt, 0});
        left = strtol(optarg, &end, 10);
        if (end == optarg || *end || left < 1)
            usage("-n wants a number from 1: ", optarg);
    }
    if (optind + 1 != argc)
        usage("exactly one directory is wanted", "");
    const char *directory = argv[optind];

    int epoll = epoll_create(DESCRIPTORS);
    if (epoll == -1 || fcntl(epoll, F_SETFD, FD_CLOEXEC) == -1)
        fail("epoll_create");
    int inotify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    uint32_t mask = IN_ONLYDIR | IN_EXCL_UNLINK;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        mask |= kinds[i].bit & IN_ALL_EVENTS;
    if (inotify == -1 || inotify_add_watch(inotify, directory, mask) == -1)
        fail(directory);
    int stop = signals();
    if (stop == -1)
        fail("signalfd");
    watch(epoll, inotify, "epoll_ctl: inotify");
    watch(epoll, stop, "epoll_ctl: signals");
    setvbuf(stdout, NULL, _IOLBF, 0);
    printf("watching %s\n", directory);

    while (left > 0) {
        struct epoll_event ready[DESCRIPTORS];
        int count = epoll_wait(epoll, ready, DESCRIPTORS, -1);
        if (count == -1 && errno != EINTR)
            fail("epoll_wait");
        for (int i = 0; i < count; i++)
            left = ready[i].data.fd == stop ? 0 : drain(inotify, directory, left);
    }
    close(stop);
    close(inotify);
    close(epoll);
    return EXIT_SUCCESS;
}
