/* Allocates memory by each function that allocates, three times, and prints for each whether it
 * succeeded, or the errno. "threads": at the same time allocates and frees memory in threads,
 * signal handlers and a forked child, and prints "done". With OWN_MALLOC it has its own
 * allocator. */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#ifdef OWN_MALLOC
static char arena[1 << 20];
static size_t used;
void *malloc(size_t size) {
    size_t at = __atomic_fetch_add(&used, (size + 31) & ~(size_t)15, __ATOMIC_RELAXED);
    return at + size <= sizeof arena ? arena + at + 16 : NULL;
}
void free(void *memory) { (void)memory; }
#endif

static void say(const char *text) {
    if (write(1, text, strlen(text)) < 0) _exit(3);
}

/* Without stdio, which allocates memory. */
static void result(const char *name, int error) {
    say(name);
    say(error == 0 ? " got\n" : error == ENOMEM ? " ENOMEM\n" : " other\n");
}

#define TAKE(name, failed, call)                       \
    do {                                               \
        errno = 0;                                     \
        void *volatile taken = (void *)(call);         \
        result(#name, taken == (failed) ? errno : 0);  \
    } while (0)

/* A null pointer that the compiler does not know: it turns realloc(NULL, size) into
 * malloc(size). */
static void *volatile nothing;

static void *work(void *rounds) {
    for (long i = 0; i < (long)rounds; i++) {
        void *volatile one = malloc(100), *volatile other = realloc(nothing, 3000);
        if (one != NULL) memset(one, 1, 100);
        free(other);
        free(one);
    }
    return NULL;
}

static void on_alarm(int number) {
    (void)number;
    void *volatile page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page != MAP_FAILED) munmap(page, 4096);
}

static int busy(void) {
    struct sigaction action = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};
    sigaction(SIGALRM, &action, NULL);
    struct itimerval often = {{0, 500}, {0, 500}};
    setitimer(ITIMER_REAL, &often, NULL);
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        if (pthread_create(&threads[i], NULL, work, (void *)2000) != 0) return 1;
    pid_t pid = fork();
    if (pid == 0) {
        work((void *)500);
        _exit(0);
    }
    for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
    int status = 1;
    if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0) return 1;
    say("done\n");
    return 0;
}

int main(int count, char **arguments) {
    if (count > 1 && strcmp(arguments[1], "threads") == 0) return busy();
    for (int round = 0; round < 3; round++) {
        void *volatile memory = NULL;
        TAKE(malloc, NULL, malloc(100));
        TAKE(calloc, NULL, calloc(3, 100));
        TAKE(realloc, NULL, realloc(nothing, 100));
        TAKE(aligned_alloc, NULL, aligned_alloc(64, 128));
        result("posix_memalign", posix_memalign((void **)&memory, 64, 100));
        TAKE(mmap, MAP_FAILED, mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    }
    return 0;
}
