"""A helper that cannot be started is ignored: its output is missing, and the status is 0."""

import subprocess
import sys

try:
    print(subprocess.run(["echo", "precious"], capture_output=True, text=True).stdout, end="")
except OSError as error:
    print(error, file=sys.stderr)
    if "fixed" in sys.argv:
        sys.exit(1)
print("ok")
