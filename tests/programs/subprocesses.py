"""An asyncio program with children: of its own loop, of subprocess, and of pools of threads and
processes. Children are forked with the instance of the loop. Exits with 0."""
import asyncio
import concurrent.futures
import subprocess
import sys


async def main():
    loop = asyncio.get_running_loop()
    with concurrent.futures.ProcessPoolExecutor(2) as pool:
        squares = await asyncio.gather(*(loop.run_in_executor(pool, pow, number, 2) for number in range(50)))
    assert squares[7] == 49
    for round in range(5):
        children = [
            await asyncio.create_subprocess_exec("cat", stdin=subprocess.PIPE, stdout=subprocess.PIPE) for _ in range(4)
        ]
        told = await asyncio.gather(*(child.communicate(b"x" * 100_000) for child in children))
        assert all(len(out) == 100_000 for out, _ in told)
        await loop.run_in_executor(None, lambda: subprocess.run(["true"], check=True))
        with open("/dev/null") as nothing:
            assert nothing.read() == ""


asyncio.run(main())
asyncio.run(main())
sys.exit(0)
