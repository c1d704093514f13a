/* Loads its configuration and its cache, then reads ten messages from a pipe. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

static void load(const char *name) {
    char *text = malloc(4096);
    int fd = open(name, O_RDONLY);
    if (text == NULL || fd < 0 || read(fd, text, 4096) < 0) {
        perror(name);
        exit(1);
    }
    close(fd);
    free(text);
}

static void reload_config(void) {
    load("app.conf");
    load("cache.db");
}

int main(void) {
    int ends[2], loop = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN};
    reload_config();
    if (pipe(ends) != 0 || epoll_ctl(loop, EPOLL_CTL_ADD, ends[0], &event) != 0) {
        perror("app");
        return 1;
    }
    for (int got = 0; got < 10;) {
        char byte = 'x';
        if (write(ends[1], &byte, 1) == 1 && epoll_wait(loop, &event, 1, -1) == 1)
            got += read(ends[0], &byte, 1);
    }
    epoll_ctl(loop, EPOLL_CTL_DEL, ends[0], NULL);
    close(ends[0]);
    close(ends[1]);
    close(loop);
    puts("10 messages");
}
