import os, select

loop = select.epoll()
for _ in range(3):
    read, write = os.pipe()
    loop.register(read, select.EPOLLIN)
