// Prints what it inherited: its process id, whether SIGPIPE is ignored, whether SIGUSR1 is blocked,
// and which of the descriptors 0 to 2 are open.
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int main(void) {
    struct sigaction action;
    sigset_t mask;
    sigaction(SIGPIPE, NULL, &action);
    sigprocmask(SIG_BLOCK, NULL, &mask);
    printf("pid %d sigpipe %s usr1 %s open %d%d%d\n", (int)getpid(), action.sa_handler == SIG_IGN ? "ignored" : "default",
           sigismember(&mask, SIGUSR1) ? "blocked" : "free", fcntl(0, F_GETFD) >= 0, fcntl(1, F_GETFD) >= 0,
           fcntl(2, F_GETFD) >= 0);
    return 0;
}
