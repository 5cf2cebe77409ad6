"""Runs schedules: `make torture ARGS="--schedules 2000"`, and one again with `--seed N --pairs x:zendesk`."""

from __future__ import annotations

import os
import sys

if os.environ.get("PYTHONHASHSEED") != "0":  # the order of sets is part of a schedule
    os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, "PYTHONHASHSEED": "0"})

from torture import machine

machine.take_over()

from torture.main import main  # noqa: E402  after the machine is taken over

if __name__ == "__main__":
    sys.exit(main())
