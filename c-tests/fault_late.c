/* fault_late [RULE]: arms a rule while it runs, where no other rule needs the call stack, and
 * prints the result. */
#include "epollshim.h"

#include <dlfcn.h>
#include <stdio.h>

int main(int count, char **arguments) {
    int (*inject)(const char *) = (int (*)(const char *))dlsym(RTLD_DEFAULT, "epollshim_inject");
    const char *(*error)(void) = (const char *(*)(void))dlsym(RTLD_DEFAULT, "epollshim_error");
    if (!inject || !error) return 1;
    int result = inject(count > 1 ? arguments[1] : "eventfd:error=EMFILE:stack~main");
    printf("%d %s\n", result, result ? error() : "");
    return 0;
}
