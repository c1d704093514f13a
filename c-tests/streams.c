/* Streams and directories, in one thread and in several, around forks, and on numbers that are
 * reused: the same natively and under the library. Prints at the end which descriptors are open. */
#include "check.h"

#include <spawn.h>

extern char **environ;

static int is_open(int fd) { return fcntl(fd, F_GETFD) >= 0; }

static void files(void) {
    FILE *file = fopen("/dev/null", "re");
    int fd = fileno(file);
    EQUAL(fcntl(fd, F_GETFD), FD_CLOEXEC);
    EQUAL(fclose(file), 0);
    CHECK(!is_open(fd));
    errno = SENTINEL;
    CHECK(fopen("/nonexistent/file", "r") == NULL && errno == ENOENT);
    file = fopen64("/dev/null", "r,e");
    CHECK(file != NULL && fcntl(fileno(file), F_GETFD) == FD_CLOEXEC);
    EQUAL(fclose(file), 0);
    file = fopen("/dev/null", "rbbbbbbe"); /* glibc reads seven letters */
    CHECK(file != NULL && fcntl(fileno(file), F_GETFD) == 0);
    EQUAL(fclose(file), 0);
    file = tmpfile();
    CHECK(file != NULL && fputs("text", file) >= 0);
    EQUAL(fclose(file), 0);
    file = tmpfile64();
    CHECK(file != NULL);
    EQUAL(fclose(file), 0);
}

static void reopened(void) {
    FILE *file = fopen("/dev/null", "r");
    int fd = fileno(file);
    CHECK(freopen("/dev/zero", "re", file) == file && fileno(file) == fd && fgetc(file) == 0);
    CHECK(freopen64("/dev/null", "r", file) == file && fileno(file) == fd && fgetc(file) == EOF);
    CHECK(freopen(NULL, "r", file) == file && is_open(fileno(file)));
    fd = fileno(file);
    CHECK(freopen("/nonexistent/file", "r", file) == NULL && !is_open(fd));
    /* On a number that its owner has closed. */
    file = fopen("/dev/null", "r");
    fd = fileno(file);
    EQUAL(close(fd), 0);
    file = freopen("/dev/zero", "r", file);
    CHECK(file != NULL && is_open(fileno(file)) && fgetc(file) == 0);
    EQUAL(fclose(file), 0);
}

static void taken_over(void) {
    int fd = open("/dev/null", O_RDONLY);
    errno = SENTINEL;
    CHECK(fdopen(fd, "?") == NULL && errno == EINVAL && is_open(fd));
    FILE *file = fdopen(fd, "r");
    CHECK(file != NULL && fileno(file) == fd);
    EQUAL(fclose(file), 0);
    CHECK(!is_open(fd));
    fd = open("/", O_RDONLY | O_DIRECTORY);
    DIR *directory = fdopendir(fd);
    CHECK(directory != NULL && dirfd(directory) == fd && readdir(directory) != NULL);
    EQUAL(closedir(directory), 0);
    CHECK(!is_open(fd));
    CHECK(fdopendir(-1) == NULL && errno == EBADF);
}

static void directories(void) {
    DIR *directory = opendir("/");
    int fd = dirfd(directory);
    CHECK(is_open(fd) && readdir(directory) != NULL);
    EQUAL(closedir(directory), 0);
    CHECK(!is_open(fd));
    CHECK(opendir("/nonexistent") == NULL && errno == ENOENT);
    CHECK(opendir("/dev/null") == NULL && errno == ENOTDIR);
    DIR *none = NULL;
    __asm__("" : "+r"(none));
    CHECK(closedir(none) == -1 && errno == EINVAL);
}

static void programs(void) {
    char line[16] = "";
    FILE *one = popen("echo one; exit 6", "r"), *other = popen("cat > /dev/null; exit 7", "we");
    CHECK(one != NULL && fgets(line, sizeof line, one) != NULL && strcmp(line, "one\n") == 0);
    CHECK(fputs("x", other) >= 0);
    EQUAL(WEXITSTATUS(pclose(other)), 7);
    EQUAL(WEXITSTATUS(pclose(one)), 6);
    one = popen("exit 8", "r");
    __asm__("" : "+r"(one)); /* gcc warns of what glibc allows */
    EQUAL(WEXITSTATUS(fclose(one)), 8);
    CHECK(popen("true", "?") == NULL && errno == EINVAL);
    EQUAL(WEXITSTATUS(system("exit 5")), 5);
    CHECK(system(NULL) != 0);
}

static ssize_t callback(void *cookie, char *bytes, size_t size) {
    (void)cookie, (void)bytes, (void)size;
    /* A hook within a hook. */
    FILE *file = fopen("/dev/null", "r");
    return file == NULL ? -1 : fclose(file);
}

/* Streams of memory and callbacks have no descriptor. */
static void of_memory(void) {
    char bytes[16] = "text", *made = NULL;
    size_t size = 0;
    FILE *file = fmemopen(bytes, sizeof bytes, "r");
    CHECK(file != NULL && fgetc(file) == 't');
    EQUAL(fclose(file), 0);
    file = open_memstream(&made, &size);
    CHECK(file != NULL && fputs("more", file) >= 0);
    EQUAL(fclose(file), 0);
    CHECK(made != NULL && strcmp(made, "more") == 0);
    free(made);
    file = fopencookie(NULL, "r", (cookie_io_functions_t){.read = callback});
    CHECK(file != NULL && fgetc(file) == EOF);
    EQUAL(fclose(file), 0);
}

static void after_a_fork(void) {
    FILE *file = fopen("/dev/null", "r");
    int fd = fileno(file), status;
    pid_t child = fork();
    if (child == 0) {
        fclose(file);
        DIR *directory = opendir("/");
        _exit(directory != NULL && dirfd(directory) == fd && closedir(directory) == 0 ? 0 : 1);
    }
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    CHECK(is_open(fd));
    EQUAL(fclose(file), 0);
    child = vfork();
    if (child == 0) _exit(0);
    CHECK(waitpid(child, &status, 0) == child && status == 0);
}

static void *in_a_thread(void *failures) {
    for (int round = 0; round < 2000; round++) {
        FILE *file = fopen("/dev/null", "r");
        DIR *directory = round % 3 ? NULL : opendir("/");
        if (file == NULL || (round % 2 && freopen("/dev/zero", "r", file) == NULL)) ++*(int *)failures;
        if (file != NULL && fclose(file) != 0) ++*(int *)failures;
        if (directory != NULL && closedir(directory) != 0) ++*(int *)failures;
    }
    return NULL;
}

static void by_threads(void) {
    pthread_t threads[4];
    int failures[4] = {0};
    for (int i = 0; i < 4; i++) pthread_create(&threads[i], NULL, in_a_thread, &failures[i]);
    for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL), EQUAL(failures[i], 0);
}

static void on_signal(int number) {
    (void)number;
    /* POSIX does not allow it, but programs do it, so the hook must accept it. The interrupted
     * thread is in pause(). */
    int kept = errno;
    FILE *file = fopen("/dev/null", "r");
    if (file != NULL) fclose(file);
    errno = kept;
}

int main(void) {
    files();
    reopened();
    taken_over();
    directories();
    programs();
    of_memory();
    after_a_fork();
    by_threads();
    signal(SIGUSR1, on_signal);
    raise(SIGUSR1);
    FILE *kept = fopen("/dev/null", "r");
    CHECK(kept != NULL && opendir("/") != NULL && popen("true", "re") != NULL);
    /* As programs do at their end, to learn of errors. */
    EQUAL(fclose(stdin), 0);
    say("open");
    for (int fd = 0; fd < 1024; fd++)
        if (is_open(fd)) say(" %d", fd);
    say("\n");
    return checks_failed;
}
