/* Connections whose other end has closed. They are watched for input, and never closed. */
#include "stuck.h"

int main(void) {
    int from = listening(), epfd = epoll_create1(EPOLL_CLOEXEC), last = -1;
    for (int connection = 0; connection < 10; connection++) {
        int client = connected(from);
        last = accepted(from);
        add(epfd, last, EPOLLIN | EPOLLET);
        close(client);
    }
    is_ready(last);
    serve(epfd, NULL);
}
