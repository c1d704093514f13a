/* Twelve places that create a descriptor. Eleven fail cleanly, one ignores the failure and crashes.
 * Each run appends its rules to the file that RUNS names, so that a test can see which runs were
 * made, and waits for PAUSE milliseconds, so that the test can watch them. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define PLACE(name)                                                                                                          \
    static __attribute__((noinline)) int name(void) {                                                                        \
        int made = eventfd(0, EFD_CLOEXEC);                                                                                  \
        if (made < 0) {                                                                                                      \
            perror(#name);                                                                                                   \
            exit(1);                                                                                                         \
        }                                                                                                                    \
        return made;                                                                                                         \
    }

PLACE(one)
PLACE(two)
PLACE(three)
PLACE(four)
PLACE(five)
PLACE(six)
PLACE(seven)
PLACE(eight)
PLACE(nine)
PLACE(ten)
PLACE(eleven)

static __attribute__((noinline)) int twelve(void) {
    static char byte;
    char *volatile places[2] = {NULL, &byte};
    int made = eventfd(0, EFD_CLOEXEC);
    *places[made >= 0] = 1;
    return made;
}

static void note_run(void) {
    const char *name = getenv("RUNS"), *rules = getenv("EPOLLSHIM_INJECT");
    FILE *file = name != NULL && rules != NULL ? fopen(name, "a") : NULL;
    if (file != NULL) {
        fprintf(file, "%s\n", rules);
        fclose(file);
    }
}

int main(void) {
    int (*places[])(void) = {one, two, three, four, five, six, seven, eight, nine, ten, eleven, twelve};
    note_run();
    if (getenv("PAUSE") != NULL)
        usleep((useconds_t)atoi(getenv("PAUSE")) * 1000);
    for (unsigned place = 0; place < sizeof places / sizeof *places; place++) {
        int made = places[place]();
        if (write(made, "12345678", 8) != 8)
            return 1;
        close(made);
    }
    puts("all done");
    return 0;
}
