/* refused_from_start RULES PROGRAM ARGUMENT...: runs a program under a filter (refuse.h), like that
 * of a sandbox or an older kernel. The filter is already in force when the program's libraries are
 * loaded. */
#include "../check.h"

#include "refuse.h"

int main(int count, char **words) {
    if (count < 3 || refuse(words[1]) != 0) {
        say("usage: refused_from_start RULES PROGRAM ARGUMENT...\n");
        return 2;
    }
    execvp(words[2], words + 2);
    return 127;
}
