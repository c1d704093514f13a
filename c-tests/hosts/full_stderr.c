/* full_stderr PROGRAM ARGUMENT...: runs a program whose stderr is a full pipe, where a write fails
 * at once. */
#include "../check.h"

int main(int count, char **words) {
    int ends[2];
    static const char block[4096];
    if (count < 2 || pipe2(ends, O_NONBLOCK) != 0) return 2;
    while (write(ends[1], block, sizeof block) > 0) continue;
    while (write(ends[1], block, 1) > 0) continue;
    if (dup2(ends[1], 2) != 2) return 2;
    execvp(words[1], words + 1);
    return 127;
}
