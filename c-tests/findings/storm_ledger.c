// Eight threads create, dup, pass and close watched descriptors while they fork and vfork, and each
// waits on an instance of its own. What is closed without DEL is really closed a moment later: no
// ghost is left, and none may be reported. With an argument: for that many seconds.
#include "pass.h"
#include <pthread.h>
#include <sys/wait.h>
#include <time.h>

enum { THREADS = 8 };

static time_t end;

// Sends `fd` to this process and closes it. Then receives the copy and closes that.
static void pass(int pair[2], int fd)
{
    send_descriptor(pair[0], fd);
    close(fd);
    close(receive_descriptor(pair[1]));
}

__attribute__((noinline)) static void close_in_vforked(int fd)
{
    pid_t child = vfork();
    if (child == 0) {
        close(fd);
        _exit(0);
    }
    must(waitpid(child, NULL, 0) == child, "waitpid");
}

static void *work(void *number)
{
    unsigned seed = (unsigned)(size_t)number;
    int epfd = epoll_create1(EPOLL_CLOEXEC), pair[2];
    struct epoll_event events[8];
    must(epfd >= 0 && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0, "socketpair");
    while (time(NULL) < end) {
        int fd = event(1), copy;
        add(epfd, fd, EPOLLIN);
        must(epoll_wait(epfd, events, 8, 1) >= 0, "epoll_wait");
        switch (rand_r(&seed) % 8) {
        case 0:
            copy = dup(fd);
            close(fd);
            must(copy >= 0 && epoll_wait(epfd, events, 8, 0) >= 0, "a ghost's event");
            close(copy);
            break;
        case 1:
            copy = fcntl(fd, F_DUPFD_CLOEXEC, 100);
            close(copy);
            close(fd);
            break;
        case 2:
            pass(pair, fd);
            break;
        case 3:
            if (rand_r(&seed) % 16 == 0) {
                pid_t child = fork();
                if (child == 0) {
                    close(fd);
                    _exit(0);
                }
                close(fd);
                must(epoll_wait(epfd, events, 8, 0) >= 0 && waitpid(child, NULL, 0) == child, "waitpid");
                break;
            }
            close(fd);
            break;
        case 4:
            if (rand_r(&seed) % 16 == 0)
                close_in_vforked(fd);
            close(fd);
            break;
        case 5:
            copy = event(0);
            must(dup2(copy, fd) == fd, "dup2");
            close(copy);
            close(fd);
            break;
        case 6:
            must(epoll_ctl(epfd, EPOLL_CTL_DEL, fd, NULL) == 0, "EPOLL_CTL_DEL");
            close(fd);
            break;
        default:
            close(fd);
        }
    }
    close(epfd);
    close(pair[0]);
    close(pair[1]);
    return NULL;
}

int main(int count, char **arguments)
{
    pthread_t threads[THREADS];
    end = time(NULL) + (count > 1 ? atoi(arguments[1]) : 4);
    int epfd = epoll_create1(EPOLL_CLOEXEC);
    must(epfd >= 0, "epoll_create1");
    for (size_t i = 0; i < THREADS; i++)
        must(pthread_create(&threads[i], NULL, work, (void *)i) == 0, "pthread_create");
    for (size_t i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    return found(-1, -1);
}
