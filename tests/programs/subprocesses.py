"""An asyncio program with children: of its own loop, of subprocess, of a thread pool; exits 0."""
import asyncio
import subprocess
import sys


async def main():
    loop = asyncio.get_running_loop()
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
