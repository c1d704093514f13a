/* The file's second half needs one more descriptor. Without it half of the file is written, with
 * status 0. */
#include "event_loop.h"

int main(void) {
    FILE *file = fopen("saved", "w");
    if (file == NULL) {
        perror("saved");
        return 1;
    }
    fputs("head\n", file);
    int status = 0, notes = memfd_create("notes", MFD_CLOEXEC);
    if (notes >= 0)
        fputs("body\n", file);
    else
        perror("notes");
#ifdef FIXED
    status = notes < 0;
#endif
    return fclose(file) != 0 || status;
}
