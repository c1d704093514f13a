/* It waits for the answer of a child that was never created, and itself holds the pipe's other end:
 * hang. */
#include "event_loop.h"

int main(void) {
    int ends_of_pipe[2];
    if (pipe(ends_of_pipe) != 0) {
        perror("pipe");
        return 1;
    }
    pid_t child = fork();
    if (child == 0)
        _exit(write(ends_of_pipe[1], "x", 1) != 1);
    if (child < 0)
        perror("fork");
#ifdef FIXED
    close(ends_of_pipe[1]);
#endif
    char word = '-';
    if (read(ends_of_pipe[0], &word, 1) != 1)
        return 1;
    printf("the child says %c\n", word);
    return 0;
}
