/* A library that makes the calls of fault_caller_calls.h. */
#include "fault_caller_calls.h"

int library_calls(int epfd, int fd, int which) {
    return calls_of_this_object(epfd, fd, which);
}
