/* mlockall as an ordinary user, whose limit is 8 MiB: before the first epoll call or after it
 * ("late"), with the flags of the second argument. All that follows works: epoll, threads,
 * allocations. "full": at the end the program takes all the memory that it may lock. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

static void use(int rounds) {
    struct epoll_event out[4];
    int epfd = epoll_create1(0);
    if (epfd < 0) abort();
    for (int round = 0; round < rounds; round++) {
        int fd = eventfd(1, 0);
        struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
        if (epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &event) != 0 || epoll_wait(epfd, out, 4, -1) < 1) abort();
        if (round % 2) close(fd);
    }
    close(epfd);
}

static void *work(void *nothing) {
    use(50);
    return nothing;
}

int main(int count, char **words) {
    if (count < 3) return 2;
    if (strcmp(words[1], "late") == 0) use(20);
    int locked = mlockall(atoi(words[2]));
    use(100);
    pthread_t threads[4];
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 65536);
    int started = 0;
    for (int i = 0; i < 4; i++) started += pthread_create(&threads[started], &attributes, work, NULL) == 0;
    for (int i = 0; i < started; i++) pthread_join(threads[i], NULL);
    int allocated = 0;
    while (allocated < (count > 3 ? 1000 : 8) && malloc(131072) != NULL) allocated++;
    printf("mlockall %d, threads %d, allocations %s\n", locked, started, allocated < 8 ? "fail" : "succeed");
    return 0;
}
