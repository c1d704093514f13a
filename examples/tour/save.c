/* Counts the lines of its input, and saves the number in "lines" and behind those of before in "history". */
#include <stdio.h>

static void save(int lines) {
    FILE *file = fopen("lines", "w");
    fprintf(file, "%d\n", lines);
    fclose(file);
}

static void remember(int lines) {
    FILE *file = fopen("history", "a");
    if (file == NULL)
        return;
    fprintf(file, "%d\n", lines);
    fclose(file);
}

int main(void) {
    int lines = 0;
    for (int letter; (letter = getchar()) != EOF;)
        lines += letter == '\n';
    save(lines);
    remember(lines);
    puts("saved");
    return 0;
}
