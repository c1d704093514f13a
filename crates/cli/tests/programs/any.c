// A system call instruction whose number only a caller knows.
#include <unistd.h>

__attribute__((noinline, noclone)) long call(long number, long a) {
    long result;
    __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a) : "rcx", "r11", "memory");
    return result;
}

int main(int count, char **words) {
    (void)words;
    return call(count + 38, 0) == getpid() ? 0 : 1;
}
