"""`gateway …` as a child process that ends with the process that started it, however that ended.

The starter holds the other end of standard input. A demo that is killed cannot stop what it started; its end of the
pipe closes all the same, and the child stops in good order: workers, open calls, and the database if it is the last.
"""

from __future__ import annotations

import os
import signal
import sys
import threading

from gateway.cli import main


def end_with_parent() -> None:
    """Wait for the end of standard input, then stop this process as an operator would."""
    while os.read(sys.stdin.fileno(), 64):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    threading.Thread(target=end_with_parent, daemon=True, name="end-with-parent").start()
    main()
