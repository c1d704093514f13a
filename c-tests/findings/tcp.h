// TCP over loopback, for servers and their clients.
#ifndef TCP_H
#define TCP_H

#include "finding.h"
#include <arpa/inet.h>

static struct sockaddr_in server;

// A socket that listens at a free port, to which `connects` connects. `flags` are added to
// SOCK_CLOEXEC.
static inline int listens(int flags, int backlog)
{
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);
    socklen_t length = sizeof server;
    server = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    must(bind(listener, (struct sockaddr *)&server, length) == 0 && listen(listener, backlog) == 0, "listen");
    must(getsockname(listener, (struct sockaddr *)&server, &length) == 0, "getsockname");
    return listener;
}

static inline int connects(void)
{
    int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    must(connect(client, (struct sockaddr *)&server, sizeof server) == 0, "connect");
    return client;
}

// Closes a connection by a reset, so that no port stays in use.
static inline void resets(int client)
{
    struct linger linger = {.l_onoff = 1};
    setsockopt(client, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
    close(client);
}

#endif
