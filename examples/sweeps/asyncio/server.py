"""An asyncio server: it answers each line, by a thread or by another process where the line asks for that."""
import asyncio
import signal


def in_thread(line):
    with open("file", "w") as file:
        file.write(line)
    with open("file") as file:
        return file.read().upper()


async def in_process(line):
    process = await asyncio.create_subprocess_exec(
        "cat", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE)
    out, _ = await process.communicate(line.encode())
    return out.decode()


async def serve(reader, writer):
    try:
        while line := (await reader.readline()).decode():
            if line.startswith("thread"):
                line = await asyncio.to_thread(in_thread, line)
            elif line.startswith("process"):
                line = await in_process(line)
            writer.write(line.encode())
            await writer.drain()
    finally:
        writer.close()


async def main():
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with await asyncio.start_server(serve, "127.0.0.1", 7000):
        await stop.wait()


asyncio.run(main())
