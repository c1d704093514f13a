"""An asyncio server and eight clients in one process, and then a second event loop.

Prints the bytes that came back, and whether the second loop could be created."""
import asyncio
import errno


async def echo(reader, writer):
    while chunk := await reader.read(4096):
        writer.write(chunk)
        await writer.drain()
    writer.close()


async def client(port):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    received = 0
    for length in range(1, 51):
        writer.write(b"x" * length * 7)
        received += len(await reader.readexactly(length * 7))
    writer.close()
    await writer.wait_closed()
    return received


async def main():
    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    print("echoed", sum(await asyncio.gather(*(client(port) for _ in range(8)))), flush=True)
    try:
        asyncio.new_event_loop().close()
        print("one more loop", flush=True)
    except OSError as error:
        print("no other loop:", errno.errorcode[error.errno], flush=True)
    server.close()


asyncio.run(main())
