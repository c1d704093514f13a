// A socket that another program is meant to have: its number is in that program's environment or
// arguments, as wine, systemd and make pass theirs on. The first argument says where it is
// (nowhere: the defect; wild: nowhere in memory), the second by which call the program is started.
#include "../finding.h"
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>

extern char **environ;

static int is(const char *one, const char *other) { return strcmp(one, other) == 0; }

int main(int count, char **arguments)
{
    const char *where = count > 1 ? arguments[1] : "nowhere", *how = count > 2 ? arguments[2] : "execve";
    char text[64] = "true", variable[64] = "NOTHING=", *words[] = {"sh", "-c", "exit $0", "0", text, "end", NULL}, *file = "/bin/sh";
    char command[128];
    int status = 0, shell = open("/bin/sh", O_RDONLY | O_CLOEXEC);
    // The environment with which this process started also contains the number, which means
    // nothing.
    must(getenv("CAME_WITH") != NULL, "CAME_WITH");
    int fd = socket(AF_UNIX, SOCK_STREAM, 0); /* CREATED */
    must(fd >= 0, "socket");
    if (is(where, "environment"))
        snprintf(variable, sizeof variable, "WINESERVERSOCKET=%d", fd);
    if (is(where, "listen"))
        snprintf(variable, sizeof variable, "LISTEN_FDS=%d", fd - 2);
    if (is(where, "argument"))
        snprintf(text, sizeof text, "%d", fd);
    if (is(where, "path"))
        snprintf(text, sizeof text, "/dev/fd/%d", fd);
    if (is(where, "proc"))
        snprintf(text, sizeof text, "/proc/self/fd/%d", fd);
    if (is(where, "word"))
        snprintf(text, sizeof text, "version%d.%d", fd, fd);
    // The number in another place of the environment that the call passes.
    char *list[64], **own = is(where, "wild") ? (char **)8 : list;
    int used = 0;
    for (char **entry = environ; *entry && used < 60; entry++)
        list[used++] = *entry;
    list[used++] = variable;
    list[used] = NULL;
    snprintf(command, sizeof command, "%s; exit 0", is(text, "true") ? "true" : "");
    if (!is(text, "true"))
        snprintf(command, sizeof command, "true %s", text);
    if (!is(where, "wild"))
        putenv(variable);
    if (is(how, "system")) {
        status = system(command); /* system */
    } else if (is(how, "popen")) {
        status = pclose(popen(command, "re")); /* popen */
    } else {
        pid_t child = 0;
        if (is(how, "spawn"))
            must(posix_spawn(&child, file, NULL, NULL, words, own) == 0, "posix_spawn"); /* spawn */
        else if ((child = vfork()) == 0) {
            if (is(how, "execve")) execve(file, words, own); /* execve */
            if (is(how, "execv")) execv(file, words); /* execv */
            if (is(how, "execvp")) execvp("sh", words); /* execvp */
            if (is(how, "execvpe")) execvpe("sh", words, own); /* execvpe */
            if (is(how, "fexecve")) fexecve(shell, words, own); /* fexecve */
            if (is(how, "execveat")) execveat(AT_FDCWD, file, words, own, 0); /* execveat */
            if (is(how, "execl")) execl(file, "sh", "-c", "exit $0", "0", "a", "b", "c", text, (char *)NULL); /* execl */
            if (is(how, "execlp")) execlp("sh", "sh", "-c", "exit $0", "0", text, (char *)NULL); /* execlp */
            if (is(how, "execle")) execle(file, "sh", "-c", "exit $0", "0", "a", "b", text, (char *)NULL, own); /* execle */
            _exit(errno == EFAULT ? 14 : 127);
        }
        must(waitpid(child, &status, 0) == child, "waitpid");
        if (is(where, "wild"))
            status = WEXITSTATUS(status) != 14;
    }
    must(status == 0, "the program");
    return found(-1, fd);
}
