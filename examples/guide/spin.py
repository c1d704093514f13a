import os, select

read, write = os.pipe()
os.write(write, b"wake up")
loop = select.epoll()
loop.register(read, select.EPOLLIN)
while True:
    for fd, _ in loop.poll():
        pass  # never reads: the pipe stays ready, and each wait returns at once
