"""Work is queued for a thread that could not be started, and waited for: hang."""

import queue
import sys
import threading

work = queue.Queue()


def worker():
    while True:
        work.get()
        work.task_done()


try:
    threading.Thread(target=worker, daemon=True).start()
except RuntimeError as error:
    print(error, file=sys.stderr)
    if "fixed" in sys.argv:
        sys.exit(1)
work.put("one")
work.join()
print("all done")
