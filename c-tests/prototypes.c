/* Each hook has the prototype that the system's headers give it (a wrong one would not compile
 * here), and the dynamic loader finds it at the address that the program itself calls. */
#include "check.h"
#include <sched.h>
#include <spawn.h>
#include <sys/inotify.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>

extern int __close(int);
extern int __dup2(int, int);
extern int __fcntl(int, int, ...);

static int (*const p_epoll_create)(int) = epoll_create;
static int (*const p_epoll_create1)(int) = epoll_create1;
static int (*const p_epoll_ctl)(int, int, int, struct epoll_event *) = epoll_ctl;
static int (*const p_epoll_wait)(int, struct epoll_event *, int, int) = epoll_wait;
static int (*const p_epoll_pwait)(int, struct epoll_event *, int, int, const sigset_t *) = epoll_pwait;
static int (*const p_epoll_pwait2)(int, struct epoll_event *, int, const struct timespec *, const sigset_t *) = epoll_pwait2;
static int (*const p_close)(int) = close;
static int (*const p_dup)(int) = dup;
static int (*const p_dup2)(int, int) = dup2;
static int (*const p_dup3)(int, int, int) = dup3;
static int (*const p_fcntl)(int, int, ...) = fcntl;
static int (*const p_fcntl64)(int, int, ...) = fcntl64;
static int (*const p_close_range)(unsigned, unsigned, int) = close_range;
static void (*const p_closefrom)(int) = closefrom;
static int (*const p___close)(int) = __close;
static int (*const p___dup2)(int, int) = __dup2;
static int (*const p___fcntl)(int, int, ...) = __fcntl;
static long (*const p_syscall)(long, ...) = syscall;
static void (*const p_exit)(int) = exit;
static void (*const p__exit)(int) = _exit;
static void (*const p__Exit)(int) = _Exit;
static void (*const p_quick_exit)(int) = quick_exit;
static int (*const p_execve)(const char *, char *const *, char *const *) = execve;
static int (*const p_execv)(const char *, char *const *) = execv;
static int (*const p_execvp)(const char *, char *const *) = execvp;
static int (*const p_execvpe)(const char *, char *const *, char *const *) = execvpe;
static int (*const p_execl)(const char *, const char *, ...) = execl;
static int (*const p_execlp)(const char *, const char *, ...) = execlp;
static int (*const p_execle)(const char *, const char *, ...) = execle;
static int (*const p_fexecve)(int, char *const *, char *const *) = fexecve;
static int (*const p_execveat)(int, const char *, char *const *, char *const *, int) = execveat;

static int (*const p_open)(const char *, int, ...) = open;
static int (*const p_open64)(const char *, int, ...) = open64;
static int (*const p_openat)(int, const char *, int, ...) = openat;
static int (*const p_openat64)(int, const char *, int, ...) = openat64;
static int (*const p_creat)(const char *, mode_t) = creat;
static int (*const p_mkstemp)(char *) = mkstemp;
static int (*const p_mkostemp)(char *, int) = mkostemp;
static int (*const p_posix_openpt)(int) = posix_openpt;
static int (*const p_open_by_handle_at)(int, struct file_handle *, int) = open_by_handle_at;
static int (*const p_socket)(int, int, int) = socket;
static int (*const p_socketpair)(int, int, int, int[2]) = socketpair;
static int (*const p_accept)(int, struct sockaddr *, socklen_t *) = accept;
static int (*const p_accept4)(int, struct sockaddr *, socklen_t *, int) = accept4;
static FILE *(*const p_fopen)(const char *, const char *) = fopen;
static FILE *(*const p_fopen64)(const char *, const char *) = fopen64;
static FILE *(*const p_fdopen)(int, const char *) = fdopen;
static FILE *(*const p_freopen)(const char *, const char *, FILE *) = freopen;
static FILE *(*const p_freopen64)(const char *, const char *, FILE *) = freopen64;
static FILE *(*const p_tmpfile)(void) = tmpfile;
static FILE *(*const p_tmpfile64)(void) = tmpfile64;
static int (*const p_fclose)(FILE *) = fclose;
static DIR *(*const p_opendir)(const char *) = opendir;
static DIR *(*const p_fdopendir)(int) = fdopendir;
static int (*const p_closedir)(DIR *) = closedir;
static FILE *(*const p_popen)(const char *, const char *) = popen;
static int (*const p_pclose)(FILE *) = pclose;
static int (*const p_posix_spawn)(pid_t *, const char *, const posix_spawn_file_actions_t *, const posix_spawnattr_t *, char *const *,
                                  char *const *) = posix_spawn;
static int (*const p_posix_spawnp)(pid_t *, const char *, const posix_spawn_file_actions_t *, const posix_spawnattr_t *, char *const *,
                                   char *const *) = posix_spawnp;
static int (*const p_system)(const char *) = system;
static int (*const p_pipe)(int[2]) = pipe;
static int (*const p_pipe2)(int[2], int) = pipe2;
static int (*const p_eventfd)(unsigned, int) = eventfd;
static int (*const p_timerfd_create)(clockid_t, int) = timerfd_create;
static int (*const p_signalfd)(int, const sigset_t *, int) = signalfd;
static int (*const p_inotify_init)(void) = inotify_init;
static int (*const p_inotify_init1)(int) = inotify_init1;
static int (*const p_memfd_create)(const char *, unsigned) = memfd_create;
static ssize_t (*const p_recvmsg)(int, struct msghdr *, int) = recvmsg;
static int (*const p_recvmmsg)(int, struct mmsghdr *, unsigned, int, struct timespec *) = recvmmsg;
static pid_t (*const p_vfork)(void) = vfork;
static int (*const p_clone)(int (*)(void *), void *, int, void *, ...) = clone;

static void found(const char *name, void *address) {
    void *symbol = dlsym(RTLD_DEFAULT, name);
    if (symbol == address && symbol != NULL) {
        say("ok   %s\n", name);
        return;
    }
    checks_failed = 1;
    say("FAIL %s: expected the loader to find what the program calls, got %s\n", name, symbol ? "another" : "none");
}
#define FOUND(name) found(#name, (void *)(uintptr_t)p_##name)

int main(void) {
    FOUND(epoll_create), FOUND(epoll_create1), FOUND(epoll_ctl), FOUND(epoll_wait), FOUND(epoll_pwait);
    FOUND(epoll_pwait2), FOUND(close), FOUND(dup), FOUND(dup2), FOUND(dup3), FOUND(fcntl), FOUND(fcntl64);
    FOUND(close_range), FOUND(closefrom), FOUND(__close), FOUND(__dup2), FOUND(__fcntl), FOUND(syscall);
    FOUND(exit), FOUND(_exit), FOUND(_Exit), FOUND(quick_exit), FOUND(execve), FOUND(execv), FOUND(execvp);
    FOUND(execvpe), FOUND(execl), FOUND(execlp), FOUND(execle), FOUND(fexecve), FOUND(execveat);
    FOUND(open), FOUND(open64), FOUND(openat), FOUND(openat64), FOUND(creat), FOUND(mkstemp), FOUND(mkostemp);
    FOUND(posix_openpt), FOUND(open_by_handle_at), FOUND(socket), FOUND(socketpair), FOUND(accept), FOUND(accept4);
    FOUND(pipe), FOUND(pipe2), FOUND(eventfd), FOUND(timerfd_create), FOUND(signalfd), FOUND(inotify_init);
    FOUND(inotify_init1), FOUND(memfd_create), FOUND(recvmsg), FOUND(recvmmsg), FOUND(vfork), FOUND(clone);
    FOUND(fopen), FOUND(fopen64), FOUND(fdopen), FOUND(freopen), FOUND(freopen64), FOUND(tmpfile), FOUND(tmpfile64);
    FOUND(fclose), FOUND(opendir), FOUND(fdopendir), FOUND(closedir), FOUND(popen), FOUND(pclose);
    FOUND(posix_spawn), FOUND(posix_spawnp), FOUND(system);
    /* Called by pointer they work as called by name. */
    int epfd = WORKS(p_epoll_create1(0)), fd = eventfd(1, 0);
    struct epoll_event event = interest(EPOLLIN, 9);
    GIVES(p_epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &event), 0);
    GIVES(p_epoll_wait(epfd, &event, 1, 0), 1);
    GIVES(p_syscall(SYS_close, fd), 0);
    GIVES(p_close(epfd), 0);
    LEDGER_KNOWS();
    return verdict();
}
