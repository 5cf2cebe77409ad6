"""The server that the sandbox's children are forked from: started with the first sandbox, gone with the last.

It has nothing but the plugins in it, and is forked from rather than the worker, whose threads and connections a fork
would tear. multiprocessing leaves its end to the end of the process; a process that a signal ends never gets there,
and its folder in the temporary files would stay.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import tempfile
from multiprocessing import forkserver
from typing import Any

__all__ = ["Forks"]


class Forks:
    """A share in the server: a sandbox has one, and whoever opens many in turn keeps one over all of them."""

    _shares = 0

    def __init__(self) -> None:
        Forks._shares += 1
        if Forks._shares == 1:
            _config()["tempdir"] = tempfile.mkdtemp(prefix="gateway-")
        self._held = True

    @property
    def context(self) -> Any:
        """How children are made: by the server where the system can fork, else from nothing."""
        if "forkserver" not in multiprocessing.get_all_start_methods():
            return multiprocessing.get_context("spawn")
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["gateway.engine.preloaded"])
        return context

    def release(self) -> None:
        """Give the share back. With the last one the server ends, and every child that is left with it."""
        if not self._held:
            return
        self._held = False
        Forks._shares -= 1
        if Forks._shares == 0:
            _end()


def _end() -> None:
    server: Any = forkserver._forkserver
    if server._forkserver_pid is not None:
        os.kill(server._forkserver_pid, signal.SIGKILL)  # it may be loading plugins still, and is not waited for
    server._stop()
    shutil.rmtree(_config().pop("tempdir"), ignore_errors=True)


def _config() -> dict[str, Any]:
    """Where multiprocessing remembers its folder for sockets: a folder that is set is used and never removed by it."""
    found: dict[str, Any] = multiprocessing.current_process()._config  # type: ignore[attr-defined]
    return found
