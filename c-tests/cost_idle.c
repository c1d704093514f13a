/* A program that never uses epoll. Prints its open descriptors. */
#include <fcntl.h>
#include <stdio.h>

int main(void)
{
    for (int fd = 0; fd < 4096; fd++)
        if (fcntl(fd, F_GETFD) >= 0)
            printf("%d ", fd);
    puts("");
    return 0;
}
