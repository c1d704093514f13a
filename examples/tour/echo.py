"""Sends each client back what it says. The port is 7000."""
import select
import socket

server = socket.create_server(("127.0.0.1", 7000))
loop = select.epoll()
loop.register(server, select.EPOLLIN)
clients = {}
while True:
    for fd, _ in loop.poll():
        try:
            if fd == server.fileno():
                client, _ = server.accept()
                clients[client.fileno()] = client
                loop.register(client, select.EPOLLIN)
            elif text := clients[fd].recv(4096):
                clients[fd].send(text)
            else:
                clients.pop(fd).close()
        except OSError as error:
            print("ignored:", error, flush=True)
