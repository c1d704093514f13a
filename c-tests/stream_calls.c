/* Calls each function for streams, directories and other programs once. Prints its name, and 0 or
 * the error; for a function that closes something, also whether the descriptor is closed. Prints
 * only by write(2). */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static void result(const char *name, int error, const char *more) {
    char line[96];
    int length = snprintf(line, sizeof line, "%s %d%s\n", name, error, more);
    if (write(1, line, (size_t)length) != length) _exit(3);
}

/* Asks the kernel, bypassing all hooks. */
static const char *is_gone(long fd) {
    long answer;
#ifdef __x86_64__
    __asm__ volatile("syscall" : "=a"(answer) : "a"(SYS_fcntl), "D"(fd), "S"((long)F_GETFD), "d"(0L) : "rcx", "r11", "memory");
#else
    answer = fcntl((int)fd, F_GETFD);
#endif
    return answer < 0 ? " gone" : " open";
}

#define MAKES(name, pointer) (errno = 0, result(name, (pointer) == NULL ? errno : 0, ""))

static FILE *stream(void) {
    static int number;
    number = open("/dev/null", O_RDWR);
    return fdopen(number, "r");
}

int main(void) {
    char *arguments[] = {"true", NULL};
    pid_t child = 0;
    int status, fd;
    FILE *file, *one = stream();
    if (one == NULL) one = stdin;
    MAKES("fopen", fopen("/dev/null", "re"));
    MAKES("freopen", freopen("/dev/zero", "r", one));
    MAKES("tmpfile", tmpfile());
    MAKES("fdopen", fdopen(open("/dev/null", O_RDONLY), "r"));
    MAKES("opendir", opendir("/"));
    MAKES("fdopendir", fdopendir(open("/", O_RDONLY | O_DIRECTORY)));
    MAKES("popen", popen("true", "re"));
    file = fopen("/dev/null", "r");
    if (file == NULL) file = stdin;
    fd = fileno(file), errno = 0, status = fclose(file);
    result("fclose", status ? errno : 0, is_gone(fd));
    DIR *directory = opendir("/");
    if (directory == NULL) directory = fdopendir(open("/", O_RDONLY | O_DIRECTORY));
    fd = dirfd(directory), errno = 0, status = closedir(directory);
    result("closedir", status ? errno : 0, is_gone(fd));
    file = popen("exit 3", "r");
    if (file == NULL) file = fopen("/dev/null", "r");
    fd = fileno(file), errno = 0, status = pclose(file);
    result("pclose", status == -1 ? errno : 0, is_gone(fd));
    errno = 0;
    status = posix_spawn(&child, "/bin/true", NULL, NULL, arguments, environ);
    result("posix_spawn", status, errno == 0 ? "" : " errno");
    status = posix_spawnp(&child, "true", NULL, NULL, arguments, environ);
    result("posix_spawnp", status, errno == 0 ? "" : " errno");
    errno = 0, status = system("exit 0");
    result("system", status == -1 ? errno : status, "");
    return 0;
}
