// A library that uses epoll.
#include <sys/epoll.h>

int library_epoll(void);
int library_epoll(void) { return epoll_create1(0); }
