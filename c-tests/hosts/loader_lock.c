/* One thread opens a library, and so holds the loader's lock. The library's constructor waits until
 * another thread has used epoll for the first time, and has armed a rule about callers. Nothing
 * that the other thread calls may need that lock. The argument is the library
 * (loader_lock_library.c). */
#include "../check.h"
#include "epollshim.h"

#pragma weak epollshim_inject

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int is_loading, is_done;

static void set(int *state) {
    pthread_mutex_lock(&mutex);
    *state = 1;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&mutex);
}

static int becomes(const int *state) {
    struct timespec end;
    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += 20;
    pthread_mutex_lock(&mutex);
    while (!*state && pthread_cond_timedwait(&changed, &mutex, &end) == 0) {}
    int answer = *state;
    pthread_mutex_unlock(&mutex);
    return answer;
}

void constructor_waits(void);
void constructor_waits(void) {
    set(&is_loading);
    check_that(becomes(&is_done), "a thread uses epoll while another one loads a library", __LINE__);
}

static void *use_epoll(void *unused) {
    QUIETLY(becomes(&is_loading));
    int epfd = epoll_create1(EPOLL_CLOEXEC), fd = eventfd(1, EFD_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN}, got;
    if (epollshim_inject != NULL) QUIETLY(epollshim_inject("epoll_ctl:error=ENOMEM:caller=nobody.so") == 0);
    QUIETLY(epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &event) == 0 && epoll_wait(epfd, &got, 1, 0) == 1);
    QUIETLY(close(fd) == 0 && close(epfd) == 0);
    set(&is_done);
    return unused;
}

int main(int count, char **arguments) {
    if (count != 2) return 2;
    pthread_t thread;
    EQUAL(pthread_create(&thread, NULL, use_epoll, NULL), 0);
    check_that(dlopen(arguments[1], RTLD_NOW) != NULL, "the library is opened", __LINE__);
    EQUAL(pthread_join(thread, NULL), 0);
    return verdict();
}
