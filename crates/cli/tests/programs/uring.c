// Asks for io_uring as libuv does: by libc's syscall().
#include <sys/syscall.h>
#include <unistd.h>

static long setup(unsigned entries, void *parameters) { return syscall(SYS_io_uring_setup, entries, parameters); }
static long enter(int fd) { return syscall(SYS_io_uring_enter, fd, 0, 0, 0, (void *)0, 0); }

int main(void) {
    setup(0, (void *)0);
    enter(-1);
    return 0;
}
