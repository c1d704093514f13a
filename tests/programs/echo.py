"""An asyncio echo server: prints its port, serves until SIGTERM, prints totals, exits with 7."""
import asyncio
import signal
import sys

served = {"connections": 0, "bytes": 0}


async def echo(reader, writer):
    served["connections"] += 1
    while chunk := await reader.read(4096):
        served["bytes"] += len(chunk)
        writer.write(chunk)
        await writer.drain()
    writer.close()
    await writer.wait_closed()


async def main():
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    print("port", server.sockets[0].getsockname()[1], flush=True)
    await stop.wait()
    server.close()
    await server.wait_closed()
    print("served", served["connections"], "connections,", served["bytes"], "bytes")


asyncio.run(main())
sys.exit(7)
