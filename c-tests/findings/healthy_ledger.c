// What correct programs do, although from outside it looks like a defect of descriptors and
// interests.
#include "finding.h"
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static struct epoll_event happened;

static int ctl(int epfd, int operation, int fd)
{
    struct epoll_event interest = {.events = EPOLLIN, .data.fd = fd};
    return epoll_ctl(epfd, operation, fd, &interest);
}

static void wait_a_little(int epfd)
{
    must(epoll_wait(epfd, &happened, 1, 1) >= 0, "epoll_wait");
}

// libuv adds, and changes an interest that exists. libevent changes, and adds an interest that does
// not. Both delete what may be gone.
static void tries_and_mends(int epfd)
{
    int fd = event(0);
    must(ctl(epfd, EPOLL_CTL_ADD, fd) == 0, "ADD");
    for (int i = 0; i < 3; i++)
        must(ctl(epfd, EPOLL_CTL_ADD, fd) == -1 && errno == EEXIST && ctl(epfd, EPOLL_CTL_MOD, fd) == 0, "ADD, MOD");
    must(ctl(epfd, EPOLL_CTL_DEL, fd) == 0, "DEL");
    must(ctl(epfd, EPOLL_CTL_MOD, fd) == -1 && errno == ENOENT && ctl(epfd, EPOLL_CTL_ADD, fd) == 0, "MOD, ADD");
    close(fd);
    must(ctl(epfd, EPOLL_CTL_DEL, fd) == -1 && errno == EBADF, "DEL of what is closed");
    must(event(0) == fd && ctl(epfd, EPOLL_CTL_DEL, fd) == -1 && errno == ENOENT, "DEL of a number given again");
    close(fd);
    must(open("/proc/self/exe", O_RDONLY | O_CLOEXEC) == fd, "open");
    must(ctl(epfd, EPOLL_CTL_DEL, fd) == -1 && errno == EPERM, "DEL of a regular file");
    close(fd);
}

// A dup outlives its descriptor for a moment, and the loop continues.
static void ghosts_that_soon_go(int epfd)
{
    int fd = event(0), other = dup(fd);
    must(ctl(epfd, EPOLL_CTL_ADD, fd) == 0, "ADD");
    close(fd);
    wait_a_little(epfd);
    close(other);
    wait_a_little(epfd);
    // The same file gets its number back.
    fd = event(0), other = dup(fd);
    must(ctl(epfd, EPOLL_CTL_ADD, fd) == 0, "ADD");
    close(fd);
    must(dup2(other, fd) == fd, "dup2");
    wait_a_little(epfd);
    must(ctl(epfd, EPOLL_CTL_DEL, fd) == 0, "DEL");
    close(fd);
    close(other);
    // The same, added as libuv adds.
    fd = event(0), other = dup(fd);
    must(ctl(epfd, EPOLL_CTL_ADD, fd) == 0, "ADD");
    close(fd);
    must(dup(other) == fd, "dup");
    must(ctl(epfd, EPOLL_CTL_ADD, fd) == -1 && errno == EEXIST && ctl(epfd, EPOLL_CTL_MOD, fd) == 0, "ADD, MOD");
    wait_a_little(epfd);
    must(ctl(epfd, EPOLL_CTL_DEL, fd) == 0, "DEL");
    close(fd);
    close(other);
}

// The dup is closed by fclose, which libc does without calling close: no ghost is left, although no
// hook saw it.
static void dups_that_stdio_closes(int epfd)
{
    int pair[2];
    must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0, "socketpair");
    FILE *stream = fdopen(dup(pair[0]), "r");
    must(stream && ctl(epfd, EPOLL_CTL_ADD, pair[0]) == 0, "ADD");
    fclose(stream);
    close(pair[0]);
    wait_a_little(epfd);
    must(ctl(epfd, EPOLL_CTL_DEL, pair[0]) == -1 && errno == EBADF, "DEL");
    int again = event(0);
    must(again == pair[0] && ctl(epfd, EPOLL_CTL_ADD, again) == 0, "ADD");
    wait_a_little(epfd);
    must(ctl(epfd, EPOLL_CTL_DEL, again) == 0, "DEL");
    close(again);
    close(pair[1]);
}

// A child holds what its parent closes, for as long as it takes to start a program, and closes what
// its parent watches.
static void children(int epfd)
{
    int fd = event(0), stays = event(0), until[2];
    char byte;
    must(ctl(epfd, EPOLL_CTL_ADD, fd) == 0 && ctl(epfd, EPOLL_CTL_ADD, stays) == 0 && pipe(until) == 0, "ADD");
    pid_t child = fork();
    if (child == 0) {
        close(until[1]);
        close(stays);
        must(read(until[0], &byte, 1) == 0, "read");
        _exit(0);
    }
    close(until[0]);
    close(fd);
    wait_a_little(epfd);
    close(until[1]);
    must(waitpid(child, NULL, 0) == child, "waitpid");
    must(ctl(epfd, EPOLL_CTL_DEL, stays) == 0, "DEL");
    close(stays);
}

static sigjmp_buf outside;
static int epfd_of_thread, go_on;
static pid_t tid_of_thread;

static void jump(int signal)
{
    (void)signal;
    siglongjmp(outside, 1);
}

// Jumps out of a wait from a signal handler, and does other things.
static void *jumper(void *nothing)
{
    if (sigsetjmp(outside, 1) == 0) {
        __atomic_store_n(&tid_of_thread, (pid_t)syscall(SYS_gettid), __ATOMIC_RELEASE);
        epoll_wait(epfd_of_thread, &happened, 1, -1);
    }
    __atomic_store_n(&go_on, 1, __ATOMIC_RELEASE);
    while (__atomic_load_n(&go_on, __ATOMIC_ACQUIRE) != 2)
        usleep(1000);
    return nothing;
}

static void *waiter(void *nothing)
{
    epoll_wait(epfd_of_thread, &happened, 1, -1);
    return nothing;
}

static void threads_that_do_not_wait_any_more(void)
{
    pthread_t thread;
    epfd_of_thread = epoll_create1(EPOLL_CLOEXEC);
    signal(SIGUSR1, jump);
    must(pthread_create(&thread, NULL, jumper, NULL) == 0, "pthread_create");
    while (__atomic_load_n(&tid_of_thread, __ATOMIC_ACQUIRE) == 0)
        usleep(1000);
    await_call(tid_of_thread, SYS_epoll_wait);
    pthread_kill(thread, SIGUSR1);
    while (__atomic_load_n(&go_on, __ATOMIC_ACQUIRE) == 0)
        usleep(1000);
    close(epfd_of_thread);
    __atomic_store_n(&go_on, 2, __ATOMIC_RELEASE);
    pthread_join(thread, NULL);
    epfd_of_thread = epoll_create1(EPOLL_CLOEXEC);
    must(pthread_create(&thread, NULL, waiter, NULL) == 0, "pthread_create");
    usleep(20000);
    pthread_cancel(thread);
    pthread_join(thread, NULL);
    close(epfd_of_thread);
}

int main(void)
{
    int epfd = epoll_create1(EPOLL_CLOEXEC);
    tries_and_mends(epfd);
    ghosts_that_soon_go(epfd);
    dups_that_stdio_closes(epfd);
    children(epfd);
    threads_that_do_not_wait_any_more();
    // Just before the end: no thread waits any more, and what is closed last is not deleted first.
    int fd = event(0), other = dup(fd);
    must(other >= 0 && ctl(epfd, EPOLL_CTL_ADD, fd) == 0, "ADD");
    close(fd);
    return found(-1, -1);
}
