/* Creates a pipe and forks; the child creates another pipe in the same place of the source. Prints
 * the child's number. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

__attribute__((noinline)) static void make(void)
{
    int pair[2];
    if (pipe(pair))
        exit(1);
    __asm__ volatile("" ::: "memory");
}

int main(void)
{
    make();
    pid_t child = fork();
    if (child == 0) {
        make();
        exit(0);
    }
    int status;
    if (child < 0 || waitpid(child, &status, 0) != child || status != 0)
        return 1;
    printf("%d\n", (int)child);
    return 0;
}
