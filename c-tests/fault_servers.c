/* The calls on which a server depends besides its descriptors: each call once, and its result. In
 * order: bind, listen, setsockopt, connect, fork, pthread_create, and bind by its number. A call
 * that fails by a fault has no effect. */
#include "check.h"

#include <sys/un.h>

static volatile int ran;
static void *thread(void *unused) {
    ran = 1;
    return unused;
}

static int error_of(long result) { return result == -1 ? errno : 0; }

static int fork_once(void) {
    pid_t child = fork();
    if (child == 0) _exit(ran ? 9 : 0);
    if (child == -1) return errno;
    int status = -1;
    QUIETLY(waitpid(child, &status, 0) == child && status == 0);
    return 0;
}

int main(void) {
    struct sockaddr_un address = {.sun_family = AF_UNIX}, bound;
    socklen_t length = sizeof bound;
    int server = socket(AF_UNIX, SOCK_STREAM, 0), client = socket(AF_UNIX, SOCK_STREAM, 0), one = 1;
    int other = socket(AF_UNIX, SOCK_STREAM, 0);
    for (int round = 0; round < 2; round++) {
        /* If its first call fails, the second round makes the later ones. */
        int binding = error_of(bind(server, (struct sockaddr *)&address, sizeof address.sun_family));
        int listening = error_of(listen(server, 8));
        int setting = error_of(setsockopt(server, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one));
        length = sizeof bound;
        QUIETLY(getsockname(server, (struct sockaddr *)&bound, &length) == 0);
        int connecting = error_of(connect(client, (struct sockaddr *)&bound, length));
        int forking = fork_once();
        pthread_t id;
        ran = 0;
        errno = SENTINEL;
        int threading = pthread_create(&id, NULL, thread, NULL);
        QUIETLY(threading == 0 || errno == SENTINEL);
        if (threading == 0) pthread_join(id, NULL);
        QUIETLY(ran == (threading == 0));
        ran = 0;
        int raw = error_of(syscall(SYS_bind, other, &address, sizeof address.sun_family));
        say("bind %d listen %d setsockopt %d connect %d fork %d pthread_create %d raw %d\n", binding, listening, setting, connecting,
            forking, threading, raw);
    }
    return checks_failed;
}
