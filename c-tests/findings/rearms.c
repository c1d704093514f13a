// No defect: loops that arm their interest again in each round. One answers at full speed with a
// one-shot interest, and one is woken by an eventfd that another thread writes and it reads.
#include "tcp.h"
#include "clock.h"
#include <pthread.h>

static int client;

static void *asks(void *argument)
{
    char byte = 'x';
    (void)argument;
    while (write(client, &byte, 1) == 1 && read(client, &byte, 1) == 1)
        ;
    return NULL;
}

static void arm(int epfd, int operation, int fd)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLONESHOT, .data.fd = fd};
    must(epoll_ctl(epfd, operation, fd, &event) == 0, "epoll_ctl");
}

int main(void)
{
    int epfd = epoll_create1(EPOLL_CLOEXEC), listener = listens(0, 16), wake = event(1);
    client = connects();
    int connection = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    pthread_t thread;
    must(pthread_create(&thread, NULL, asks, NULL) == 0, "pthread_create");
    arm(epfd, EPOLL_CTL_ADD, connection);
    arm(epfd, EPOLL_CTL_ADD, wake);
    struct epoll_event events[8];
    for (struct since since = begin(); runs(&since, 600);) {
        int n = epoll_wait(epfd, events, 8, 50);
        for (int i = 0; i < n; i++) {
            int fd = events[i].data.fd;
            eventfd_t value;
            char byte;
            if (fd == wake)
                must(eventfd_read(wake, &value) == 0 && eventfd_write(wake, 1) == 0, "eventfd");
            else
                must(read(fd, &byte, 1) == 1 && write(fd, &byte, 1) == 1, "the answer");
            arm(epfd, EPOLL_CTL_MOD, fd);
        }
    }
    shutdown(connection, SHUT_RDWR);
    pthread_join(thread, NULL);
    return found(epfd, -1);
}
