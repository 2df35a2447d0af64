"""`make stop`: asks the running `up` of this RANKLOOP_HOME to stop, and waits until it has."""

from __future__ import annotations

import os
import signal
import sys
import time

from config import environment
from config.launching.checks import read_record
from config.launching.supervisor import lives

WAIT_SECONDS = 120


def main() -> int:
    home = environment.home()
    pid = read_record(home).get("pid")
    if not pid or not lives(pid):
        print(f"rankloop: nothing runs from {home}.")
        return 0
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + WAIT_SECONDS
    while lives(pid):
        if time.monotonic() > deadline:
            print(f"rankloop: process {pid} has not stopped yet; see {home / 'log'}.", file=sys.stderr)
            return 1
        time.sleep(0.2)
    print("rankloop: stopped. All data are kept.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
