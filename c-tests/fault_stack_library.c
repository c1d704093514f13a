/* A library that is loaded while the program runs (fault_stack.c). */
#include <sys/eventfd.h>
#include <unistd.h>

__attribute__((noinline)) static int plugin_inner(void) {
    int fd = eventfd(0, 0);
    if (fd >= 0) close(fd);
    return fd >= 0;
}

__attribute__((noinline)) int plugin_call(void) { return plugin_inner() + 0 * getpid(); }
