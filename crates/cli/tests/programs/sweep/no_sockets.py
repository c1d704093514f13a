"""asyncio.start_server skips each address whose socket cannot be made: a server without sockets, and no error (CPython up to 3.12).
`fixed`: asks whether there is one. `ask`: is a client."""

import asyncio
import socket
import sys

port, what = int(sys.argv[1]), sys.argv[2]


async def answer(_reader, writer):
    writer.write(b"hello\n")
    await writer.drain()
    writer.close()


async def main():
    server = await asyncio.start_server(answer, "127.0.0.1", port)
    if what == "fixed" and not server.sockets:
        sys.exit("no socket could be made")
    print("ready", flush=True)
    await server.serve_forever()


if what == "ask":
    with socket.create_connection(("127.0.0.1", port), 5) as client:
        sys.exit(client.recv(6) != b"hello\n")
asyncio.run(main())
