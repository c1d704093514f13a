/* Makes the same call from several callers, and prints for each whether it succeeds. With a path,
 * also from a library that it then loads, which has one function that it exports and one that it
 * does not. */
#include "check.h"

static int leaf(void) {
    int fd = eventfd(0, 0);
    if (fd >= 0) close(fd);
    return fd >= 0;
}

__attribute__((noinline)) static int hidden(void) { return leaf() + 0 * getpid(); }
__attribute__((noinline)) int shown(void) { return hidden() + 0 * getpid(); }
__attribute__((noinline)) int deep(int left) { return (left ? deep(left - 1) : leaf()) + 0 * getpid(); }

static int in_handler;
static void handler(int number) {
    (void)number;
    in_handler = leaf();
}

static void *in_thread(void *result) {
    *(int *)result = hidden();
    return NULL;
}

int main(int argc, char **argv) {
    stack_t small = {.ss_sp = malloc(16384), .ss_size = 8192};
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_ONSTACK};
    sigaltstack(&small, NULL);
    sigaction(SIGUSR1, &action, NULL);
    pthread_t thread;
    int threaded = 0;
    int here = leaf(), below = hidden(), further = shown(), deepest = deep(500);
    say("main %d hidden %d shown %d deep %d", here, below, further, deepest);
    raise(SIGUSR1);
    pthread_create(&thread, NULL, in_thread, &threaded);
    pthread_join(thread, NULL);
    say(" handler %d thread %d", in_handler, threaded);
    if (argc > 1) {
        void *library = dlopen(argv[1], RTLD_NOW);
        int (*exported)(void) = library ? (int (*)(void))dlsym(library, "plugin_call") : NULL;
        say(" plugin %d", exported ? exported() : -1);
    }
    say("\n");
    return 0;
}
