/* Counts the lines of its input, and saves the number: in "lines", and in "history" with those of before. */
#include <stdio.h>

int main(void) {
    int lines = 0;
    for (int letter; (letter = getchar()) != EOF;)
        lines += letter == '\n';

    FILE *file = fopen("lines", "w");
    fprintf(file, "%d\n", lines);
    fclose(file);

    FILE *history = fopen("history", "a");
    if (history != NULL) {
        fprintf(history, "%d\n", lines);
        fclose(history);
    }
    puts("saved");
    return 0;
}
