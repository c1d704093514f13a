// RetroShare #51, wazuh #2021, stellar-core #1635, nut #642: the listening socket has no
// close-on-exec, and each program that is started inherits it: the port stays in use when the
// server has ended. The arguments say how the program is started, and what is done about it (ok:
// close-on-exec; closes: the child, or a file action, closes the socket).
#include "../tcp.h"
#include <spawn.h>
#include <sys/wait.h>

extern char **environ;

int main(int count, char **arguments)
{
    const char *how = count > 1 ? arguments[1] : "fork", *what = count > 2 ? arguments[2] : "";
    int ok = strcmp(what, "ok") == 0, closes = strcmp(what, "closes") == 0, status = 0;
    int listener = socket(AF_INET, SOCK_STREAM | (ok ? SOCK_CLOEXEC : 0), 0); /* CREATED */
    must(listener >= 0 && listen(listener, 16) == 0, "listen");
    char *const words[] = {"sh", "-c", "exit 0", NULL};
    pid_t child = 0;
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    if (closes)
        posix_spawn_file_actions_addclose(&actions, listener);
    if (strcmp(how, "system") == 0) {
        status = system("exit 0"); /* system */
    } else if (strcmp(how, "popen") == 0) {
        FILE *file = popen("exit 0", "re"); /* popen */
        status = pclose(file);
    } else if (strcmp(how, "spawn") == 0) {
        must(posix_spawn(&child, "/bin/sh", &actions, NULL, words, environ) == 0, "posix_spawn"); /* spawn */
    } else if (strcmp(how, "spawnp") == 0) {
        must(posix_spawnp(&child, "sh", &actions, NULL, words, environ) == 0, "posix_spawnp"); /* spawnp */
    } else if (strcmp(how, "vfork") == 0) {
        if ((child = vfork()) == 0) {
            if (closes)
                close(listener);
            execve("/bin/sh", words, environ); /* vfork */
            _exit(127);
        }
    } else {
        if ((child = fork()) == 0) {
            if (closes)
                close(listener);
            execv("/bin/sh", words); /* fork */
            _exit(127);
        }
    }
    if (child > 0)
        must(waitpid(child, &status, 0) == child, "waitpid");
    must(status == 0, "the program");
    posix_spawn_file_actions_destroy(&actions);
    return found(-1, listener);
}
