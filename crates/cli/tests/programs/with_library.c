// Epoll is used by its library alone.
#include <stdio.h>

int library_epoll(void);

int main(void) {
    printf("%d\n", library_epoll() >= 0);
    return 0;
}
