/* The baseline: a C library that forwards the functions that the shim hooks, and does nothing
 * else.
 *
 *   cc -O2 -fPIC -shared -Wl,-z,now -o libforwarder.so forwarder.c
 *   cc -DLOOK ... -o liblooker.so forwarder.c
 *
 * Every hook compiles to one load and one jump: the real function returns straight to the program.
 * With LOOK the results come back through the hook, as they must in any library that examines
 * them: one return instruction more. If the processor's prediction of returns does not survive a
 * system call, this return is mispredicted (docs/performance.md, "Returns after a system call").
 * So the looker is the floor of what the shim can reach.
 *
 * The constructor resolves all functions. A call that comes before it (from another library's
 * constructor) reaches NAME_first, which resolves and then makes the call, so that the hot path
 * needs no test. fcntl and syscall have a fixed arity, as in the shim: no va_list, no registers
 * saved. For this the headers that declare them as variadic are not included. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <sys/epoll.h>
#include <time.h>

#ifdef LOOK
#define GIVE(result, call)                                                                                           \
    result returned = call;                                                                                          \
    __asm__ volatile("" : "+r"(returned));                                                                           \
    return returned
#else
#define GIVE(result, call) return call
#endif

static void resolve(void);

#define FORWARD(result, name, parameters, arguments)                                                                 \
    static result name##_first parameters;                                                                           \
    static result(*name##_real) parameters = name##_first;                                                           \
    result name parameters { GIVE(result, name##_real arguments); }                                                  \
    static result name##_first parameters                                                                            \
    {                                                                                                                \
        resolve();                                                                                                   \
        return name##_real arguments;                                                                                \
    }

FORWARD(int, epoll_create, (int size), (size))
FORWARD(int, epoll_create1, (int flags), (flags))
FORWARD(int, epoll_ctl, (int epfd, int op, int fd, struct epoll_event *event), (epfd, op, fd, event))
FORWARD(int, epoll_wait, (int epfd, struct epoll_event *events, int max, int timeout), (epfd, events, max, timeout))
FORWARD(int, epoll_pwait, (int epfd, struct epoll_event *events, int max, int timeout, const sigset_t *mask),
        (epfd, events, max, timeout, mask))
FORWARD(int, epoll_pwait2,
        (int epfd, struct epoll_event *events, int max, const struct timespec *timeout, const sigset_t *mask),
        (epfd, events, max, timeout, mask))
FORWARD(int, close, (int fd), (fd))
FORWARD(int, dup, (int fd), (fd))
FORWARD(int, dup2, (int from, int to), (from, to))
FORWARD(int, dup3, (int from, int to, int flags), (from, to, flags))
FORWARD(int, fcntl, (int fd, int command, long argument), (fd, command, argument))
FORWARD(int, fcntl64, (int fd, int command, long argument), (fd, command, argument))
FORWARD(int, close_range, (unsigned first, unsigned last, int flags), (first, last, flags))
FORWARD(long, syscall, (long number, long a, long b, long c, long d, long e, long f), (number, a, b, c, d, e, f))

static void closefrom_first(int low);
static void (*closefrom_real)(int low) = closefrom_first;
void closefrom(int low) { closefrom_real(low); }
static void closefrom_first(int low)
{
    resolve();
    closefrom_real(low);
}

#define RESOLVE(name) *(void **)&name##_real = dlsym(RTLD_NEXT, #name)

__attribute__((constructor)) static void resolve(void)
{
    RESOLVE(epoll_create);
    RESOLVE(epoll_create1);
    RESOLVE(epoll_ctl);
    RESOLVE(epoll_wait);
    RESOLVE(epoll_pwait);
    RESOLVE(epoll_pwait2);
    RESOLVE(close);
    RESOLVE(dup);
    RESOLVE(dup2);
    RESOLVE(dup3);
    RESOLVE(fcntl);
    RESOLVE(fcntl64);
    RESOLVE(close_range);
    RESOLVE(closefrom);
    RESOLVE(syscall);
}
