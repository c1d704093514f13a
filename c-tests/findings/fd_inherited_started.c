// fd_inherited_started HOW: a socket without close-on-exec, and a program that is started. Prints 1
// if that program has the socket.
#include "finding.h"
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>

extern char **environ;
static const char *how;
static int is(const char *word) { return strcmp(how, word) == 0; }

// A child's exit status: 1 if it has the descriptor.
static int has(int status) { return WIFEXITED(status) ? WEXITSTATUS(status) : -1; }

int main(int count, char **arguments)
{
    char script[96];
    char *const words[] = {"sh", "-c", script, NULL};
    int status = 0, null = open("/dev/null", O_RDWR | O_CLOEXEC), error = 0;
    pid_t child = 0;
    posix_spawn_file_actions_t actions;
    how = count > 1 ? arguments[1] : "";
    int fd = socket(AF_UNIX, SOCK_STREAM | (is("cloexec") ? SOCK_CLOEXEC : 0), 0); /* HERE */
    must(fd >= 0, "socket");
    // Its number is not in the arguments: that would mean that it is passed on on purpose.
    snprintf(script, sizeof script, "case $(readlink /proc/$$/fd/$((%d + 1))) in socket*) exit 1;; esac", fd - 1);
    posix_spawn_file_actions_init(&actions);
    if (is("close")) posix_spawn_file_actions_addclose(&actions, fd);
    if (is("dup2")) posix_spawn_file_actions_adddup2(&actions, null, fd);
    if (is("open")) posix_spawn_file_actions_addopen(&actions, fd, "/dev/null", O_RDONLY, 0);
    if (is("closefrom")) posix_spawn_file_actions_addclosefrom_np(&actions, 3);
    if (is("above")) posix_spawn_file_actions_addclosefrom_np(&actions, fd + 1);
    if (is("itself")) posix_spawn_file_actions_adddup2(&actions, fd, fd);
    if (is("copied")) posix_spawn_file_actions_adddup2(&actions, fd, 0);
    if (is("chdir")) posix_spawn_file_actions_addchdir_np(&actions, "/");
    if (is("many"))
        for (int i = 0; i < 40; i++) posix_spawn_file_actions_addclose(&actions, i == 39 ? fd : 100 + i);
    // As a child of a program with another C library would look.
    if (is("unknown")) posix_spawn_file_actions_addclose(&actions, 99), *(int *)actions.__actions = 77;
    if (is("system")) {
        status = system(script); /* system */
    } else if (is("popen")) {
        FILE *file = popen(script, "re"); /* popen */
        must(file != NULL, "popen");
        status = pclose(file);
    } else if (is("none")) {
        error = posix_spawn(&child, "/nonexistent/program", NULL, NULL, words, environ);
        must(error == ENOENT, "posix_spawn");
        child = 0;
    } else if (is("path")) {
        error = posix_spawnp(&child, "sh", NULL, NULL, words, environ); /* path */
    } else {
        error = posix_spawn(&child, "/bin/sh", &actions, NULL, words, environ); /* spawn */
    }
    if (is("unknown")) *(int *)actions.__actions = 0;
    if (child > 0) waitpid(child, &status, 0);
    posix_spawn_file_actions_destroy(&actions);
    printf("%d\n", has(status));
    return 0;
}
