/* A server that copies a descriptor in each round of its loop: when it starts, serves and stops,
 * from one place. It aborts (SIGABRT) if that fails while it serves. A client gets its answer in
 * the next round, so that a round is over before the clients have what they asked for. */
#include "listener.h"

#include <poll.h>
#include <signal.h>

static volatile sig_atomic_t ends_now;

static void on_stop(int unused) {
    (void)unused;
    ends_now = 1;
}

int main(int count, char **arguments) {
    serve_or_ask(count, arguments);
    /* The signal arrives in ppoll alone, so that none is missed. */
    sigset_t blocked, before;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGTERM);
    sigprocmask(SIG_BLOCK, &blocked, &before);
    sigaction(SIGTERM, &(struct sigaction){.sa_handler = on_stop}, NULL);
    int listening = -1, client = -1;
    for (int turn = 0;; turn++) {
        int copy = dup(2);
        if (copy < 0 && listening >= 0 && !ends_now)
            abort();
        if (copy >= 0)
            close(copy);
        if (client >= 0)
            answer(client);
        client = -1;
        if (ends_now)
            return 0;
        if (turn < 2)
            continue;
        if (turn == 2) {
            listening = listen_at(arguments[1]);
            fprintf(stderr, "ready\n");
        }
        if (ppoll(&(struct pollfd){.fd = listening, .events = POLLIN}, 1, NULL, &before) > 0)
            client = accept(listening, NULL, NULL);
    }
}
