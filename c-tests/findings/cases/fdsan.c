// Android's fdsan page: one thread closes a number twice, and in between another thread has opened
// something that got the number. The second close closes the other thread's file, and succeeds. An
// argument says what the other thread then does with it: nothing visible (none), close (x), dup,
// fcntl, add. ok: it is closed once. handed: one thread opens many descriptors in one place and
// another closes them on purpose, whatever numbers they get.
#include "../finding.h"
#include <pthread.h>

static pthread_barrier_t turn;
static int own, number, handed;

static int is(const char *mode, const char *word) { return strcmp(mode, word) == 0; }
static void next(void) { pthread_barrier_wait(&turn); }
__attribute__((noinline)) static int open_one(void) { return open("/dev/null", O_RDONLY | O_CLOEXEC); /* CREATED */ }
static void end(int fd) { close(fd); /* STRAY */ }

static void *twice(void *argument)
{
    const char *mode = argument;
    own = event(0);
    close(own); /* FIRST */
    next();
    next();
    if (!is(mode, "ok"))
        end(own);
    next();
    while (is(mode, "handed")) {
        next();
        if (handed < 0)
            break;
        end(handed);
        next();
    }
    return NULL;
}

int main(int count, char **arguments)
{
    char *mode = count > 1 ? arguments[1] : "none";
    pthread_t thread;
    int epfd = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN};
    pthread_barrier_init(&turn, NULL, 2);
    pthread_create(&thread, NULL, twice, mode);
    next();
    number = open_one();
    must(number == own, "the number was given again");
    next();
    next();
    if (is(mode, "x"))
        close(number); /* USED */
    else if (is(mode, "dup"))
        must(dup(number) == -1, "dup");
    else if (is(mode, "fcntl"))
        must(fcntl(number, F_SETFL, O_NONBLOCK) == -1, "fcntl");
    else if (is(mode, "add"))
        must(epoll_ctl(epfd, EPOLL_CTL_ADD, number, &event) == -1, "EPOLL_CTL_ADD");
    for (int i = 0; is(mode, "handed") && i < 3; i++) {
        handed = i < 2 ? open_one() : -1;
        next();
        if (i < 2)
            next();
    }
    pthread_join(thread, NULL);
    if (is(mode, "ok"))
        close(number);
    close(epfd);
    return found(-1, number);
}
