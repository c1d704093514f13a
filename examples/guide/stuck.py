import select, socket

listener = socket.create_server(("127.0.0.1", 7000))
loop = select.epoll()
loop.register(listener, select.EPOLLIN)
clients = {}
while True:
    for fd, _ in loop.poll():
        if fd == listener.fileno():
            client, _ = listener.accept()
            clients[client.fileno()] = client
            loop.register(client, select.EPOLLIN | select.EPOLLET)
        else:
            clients[fd].send(clients[fd].recv(8))  # 8 bytes, but not until EAGAIN
