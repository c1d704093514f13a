/* fault_points DIRECTORY [waits]: makes each call that closes, copies or changes descriptors, each
 * in a separate function that has the call's name. A call that takes a descriptor gets one of
 * another kind. With `waits` it then prints a line and waits to be killed. */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

/* The call must not be the last one: a function that ends in a jump to it is not among its
 * callers. */
#define CALLER(name, body)                                    \
    static __attribute__((noinline)) void of_##name(int fd) { \
        (void)fd;                                             \
        body;                                                 \
        __asm__ volatile("");                                 \
    }

static const char *directory;
static int instance, listener, event, timer, file;
static struct epoll_event wanted = {.events = EPOLLIN};

CALLER(close, close(fd))
CALLER(dup, close(dup(fd)))
CALLER(dup2, close(dup2(fd, 90)))
CALLER(dup3, close(dup3(fd, 91, O_CLOEXEC)))
CALLER(fcntl, fcntl(fd, F_SETFD, FD_CLOEXEC))
CALLER(close_range, close_range(200, 300, 0))
CALLER(fclose, fclose(fdopen(dup(file), "r")))
CALLER(closedir, closedir(opendir(directory)))
CALLER(pclose, pclose(popen(":", "r")))
CALLER(add, epoll_ctl(instance, EPOLL_CTL_ADD, fd, &wanted))
CALLER(mod, epoll_ctl(instance, EPOLL_CTL_MOD, fd, &wanted))
CALLER(del, epoll_ctl(instance, EPOLL_CTL_DEL, fd, NULL))
CALLER(accept4, accept4(fd, NULL, NULL, 0))

int main(int count, char **arguments) {
    directory = count > 1 ? arguments[1] : ".";
    int ends[2];
    instance = epoll_create1(EPOLL_CLOEXEC);
    listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
    event = eventfd(0, EFD_NONBLOCK);
    timer = timerfd_create(CLOCK_MONOTONIC, 0);
    file = open("/proc/self/exe", O_RDONLY);
    int null = open("/dev/null", O_RDWR);
    int place = open(directory, O_RDONLY | O_DIRECTORY);
    if (pipe2(ends, O_NONBLOCK) != 0) return 1;
    of_add(listener);
    of_add(event);
    of_mod(event);
    of_del(event);
    of_del(listener);
    of_del(file);
    of_dup(file);
    of_dup2(null);
    of_dup3(place);
    of_fcntl(ends[0]);
    of_accept4(listener);
    of_fclose(-1);
    of_closedir(-1);
    of_pclose(-1);
    of_close_range(-1);
    of_close(timer);
    of_close(instance);
    of_close(instance);
    return count > 2 && write(1, "done\n", 5) == 5 ? pause() : 0;
}
