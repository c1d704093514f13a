/* Every call that creates descriptors returns what it returns natively: numbers, modes of files,
 * errnos. Cancellation points remain cancellation points. */
#include "check.h"
#include <sys/inotify.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>

extern int __open(const char *, int, ...);
extern int __open_2(const char *, int);
extern int __openat_2(int, const char *, int);
extern int __pipe(int[2]);

static unsigned mode_of(const char *path) {
    struct stat status;
    return stat(path, &status) ? 0 : status.st_mode & 07777;
}

static int cleaned;
static int listener, pair[2];

static void cleanup(void *unused) { (void)unused, cleaned++; }

static void *blocks_in_accept(void *unused) {
    pthread_cleanup_push(cleanup, NULL);
    accept(listener, NULL, NULL);
    pthread_cleanup_pop(0);
    return unused;
}

static void *blocks_in_recvmsg(void *unused) {
    char byte;
    struct iovec piece = {&byte, 1};
    struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1};
    pthread_cleanup_push(cleanup, NULL);
    recvmsg(pair[0], &message, 0);
    pthread_cleanup_pop(0);
    return unused;
}

static void *blocks_in_open(void *path) {
    pthread_cleanup_push(cleanup, NULL);
    open(path, O_RDONLY);
    pthread_cleanup_pop(0);
    return path;
}

static void cancelled(void *(*blocks)(void *), void *argument) {
    pthread_t thread;
    void *result;
    int before = cleaned;
    pthread_create(&thread, NULL, blocks, argument);
    nap(50);
    EQUAL(pthread_cancel(thread), 0);
    EQUAL(pthread_join(thread, &result), 0);
    CHECK(result == PTHREAD_CANCELED);
    EQUAL(cleaned - before, 1);
}

int main(void) {
    char folder[] = "/tmp/births-XXXXXX", path[64], name[64], template[64];
    CHECK(mkdtemp(folder) != NULL);
    umask(0);
    snprintf(path, sizeof path, "%s/a", folder);
    int fd = WORKS(open(path, O_RDWR | O_CREAT | O_EXCL, 0641));
    EQUAL(mode_of(path), 0641);
    GIVES(close(fd), 0);
    FAILS(open(path, O_RDWR | O_CREAT | O_EXCL, 0600), EEXIST);
    FAILS(open("/nowhere/at/all", O_RDONLY), ENOENT);
    FAILS(open(nowhere(), O_RDONLY), EFAULT);
    GIVES(unlink(path), 0);
    int directory = WORKS(open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    EQUAL(fcntl(directory, F_GETFD), FD_CLOEXEC);
    fd = WORKS(openat(directory, "a", O_WRONLY | O_CREAT, 0604));
    EQUAL(mode_of(path), 0604);
    GIVES(close(fd), 0);
    fd = WORKS(__open(path, O_RDONLY));
    GIVES(close(fd), 0);
    fd = WORKS(__open_2(path, O_RDONLY));
    GIVES(close(fd), 0);
    fd = WORKS(__openat_2(directory, "a", O_RDONLY));
    GIVES(close(fd), 0);
    fd = WORKS(open64(path, O_RDONLY));
    GIVES(close(fd), 0);
    GIVES(unlink(path), 0);
    fd = WORKS(creat(path, 0622));
    EQUAL(mode_of(path), 0622);
    GIVES(close(fd), 0);
    GIVES(unlink(path), 0);
    snprintf(template, sizeof template, "%s/XXXXXX", folder);
    fd = WORKS(mkstemp(template));
    EQUAL(mode_of(template), 0600);
    GIVES(close(fd), 0);
    GIVES(unlink(template), 0);
    FAILS(mkstemp(template), EINVAL);

    GIVES(pipe(pair), 0);
    EQUAL(pair[1] - pair[0], 1);
    GIVES(close(pair[0]), 0);
    GIVES(close(pair[1]), 0);
    GIVES(__pipe(pair), 0);
    GIVES(close(pair[0]), 0);
    GIVES(close(pair[1]), 0);
    GIVES(pipe2(pair, O_CLOEXEC | O_NONBLOCK), 0);
    EQUAL(fcntl(pair[1], F_GETFD), FD_CLOEXEC);
    GIVES(close(pair[0]), 0);
    GIVES(close(pair[1]), 0);
    FAILS(pipe2(pair, 12345), EINVAL);
    FAILS(pipe(nowhere()), EFAULT);
    FAILS(socketpair(AF_UNIX, SOCK_STREAM, 0, nowhere()), EFAULT);
    FAILS(socket(AF_UNIX, 77, 0), EINVAL);
    fd = WORKS(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC));
    GIVES(close(fd), 0);
    sigset_t set;
    sigemptyset(&set), sigaddset(&set, SIGUSR2);
    fd = WORKS(signalfd(-1, &set, 0));
    GIVES(signalfd(fd, &set, 0), fd);
    GIVES(close(fd), 0);
    fd = WORKS(inotify_init());
    GIVES(close(fd), 0);
    fd = WORKS(memfd_create("births", MFD_CLOEXEC));
    GIVES(close(fd), 0);
    fd = WORKS(eventfd(3, EFD_NONBLOCK));
    GIVES(close(fd), 0);

    listener = WORKS(socket(AF_UNIX, SOCK_STREAM, 0));
    struct sockaddr_un { sa_family_t family; char path[108]; } address = {.family = AF_UNIX};
    snprintf(address.path, sizeof address.path, "%s/s", folder);
    GIVES(bind(listener, (struct sockaddr *)&address, sizeof address), 0);
    GIVES(listen(listener, 4), 0);
    int client = WORKS(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    GIVES(connect(client, (struct sockaddr *)&address, sizeof address), 0);
    fd = WORKS(accept4(listener, NULL, NULL, SOCK_NONBLOCK));
    FAILS(read(fd, template, 1), EAGAIN);
    GIVES(close(fd), 0);
    FAILS(accept(client, NULL, NULL), EINVAL);
    cancelled(blocks_in_accept, NULL);
    GIVES(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair), 0);
    cancelled(blocks_in_recvmsg, NULL);
    FAILS(recvmsg(pair[0], nowhere(), MSG_DONTWAIT), EFAULT);
    snprintf(name, sizeof name, "%s/fifo", folder);
    GIVES(mkfifo(name, 0600), 0);
    cancelled(blocks_in_open, name);
    GIVES(unlink(name), 0);
    GIVES(unlink(address.path), 0);
    GIVES(rmdir(folder), 0);
    return verdict();
}
