import os, select

loop = select.epoll()
read, write = os.pipe()
loop.register(read)
os.close(write)
for call, fd in (loop.modify, write), (loop.register, read):
    try:
        call(fd, select.EPOLLIN)
    except OSError:
        pass
loop.close()
