/* The program does not check whether the helper that writes the file was started: the file is
 * missing, and the status is 0. */
#include "event_loop.h"
#include <spawn.h>

extern char **environ;

int main(void) {
    char *words[] = {"sh", "-c", "echo precious > result", NULL};
    pid_t helper = -1;
    int error = posix_spawn(&helper, "/bin/sh", NULL, NULL, words, environ);
#ifdef FIXED
    if (error != 0) {
        fprintf(stderr, "sh: %s\n", strerror(error));
        return 1;
    }
#endif
    (void)error;
    waitpid(helper, NULL, 0);
    puts("ok");
    return 0;
}
