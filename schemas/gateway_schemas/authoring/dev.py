"""Runs a plugin against its twin, anew at every change of its files: `gateway plugin dev DIR`.

One process watches the folder; another plays. The stage is the conformance kit's, on real time: the adapter of the
plugin's contract test says how people act at the twin, and what the plugin makes of it is printed. A policy has no
provider: its tests are run at every change.
"""

from __future__ import annotations

import contextlib
import importlib.util
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gateway_schemas.authoring.kit import contract_tests
from gateway_schemas.authoring.package import NotAPlugin, Package

LOOK_EVERY = 0.4
_WATCHED = {".py", ".toml", ".json", ".http", ".xml", ".eml"}


def watch(folder: Path, port: int, *, rounds: int | None = None) -> int:
    """Start the player, and again whenever a file changes; until it is interrupted, or for so many rounds."""
    command = [sys.executable, "-u", "-m", "gateway_schemas.authoring.dev", str(folder), str(port)]
    done = 0
    signal.signal(signal.SIGTERM, _interrupt)  # else the player would go on alone
    try:
        while rounds is None or done < rounds:
            before = _stamps(folder)
            player = subprocess.Popen(command)
            try:
                changed = _changes(folder, before, player)
            finally:
                player.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    player.wait(5)
                player.kill()
            done += 1
            if not changed:
                return 0
            print(f"\n{changed} changed: once more", flush=True)
    except KeyboardInterrupt:
        pass
    return 0


def contract_of(package: Package) -> Any:
    """The class of the folder's contract test: it names the plugin and, where there is a twin, the adapter."""
    for test in contract_tests(package):
        spec = importlib.util.spec_from_file_location(test.path.stem, test.path)
        if spec is None or spec.loader is None:
            continue
        package.load(package.import_name)  # puts the folder on the path
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return getattr(module, test.name)
    raise NotAPlugin(f"{package.folder} has no contract test; its adapter says how people act at the twin")


def main(folder: Path, port: int) -> int:
    """The player: one round by itself, then what is typed."""
    package = Package(folder)
    try:
        if not package.talking:
            return subprocess.call([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"], cwd=folder) and 0
        contract = contract_of(package)
    except NotAPlugin as error:
        print(error, flush=True)
        return 0
    import asyncio

    from gateway_schemas.testing.playing import play

    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(play(contract, port))
    return 0


def _changes(folder: Path, before: dict[Path, int], player: subprocess.Popen[bytes]) -> str:
    """Wait for a change; the file's name. Nothing when the player was told to end."""
    while True:
        time.sleep(LOOK_EVERY)
        now = _stamps(folder)
        for path in now.keys() | before.keys():
            if now.get(path) != before.get(path):
                return path.relative_to(folder).as_posix()
        if player.poll() == ENDED:
            return ""


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


ENDED = 3
"""What the player ends with when somebody typed `quit`."""


def _stamps(folder: Path) -> dict[Path, int]:
    found = {}
    for path in _files(folder):
        with contextlib.suppress(FileNotFoundError):
            found[path] = path.stat().st_mtime_ns
    return found


def _files(folder: Path) -> Iterator[Path]:
    for path in folder.iterdir():
        if path.name.startswith(".") or path.name in ("__pycache__", "dist", "build"):
            continue
        if path.is_dir():
            yield from _files(path)
        elif path.suffix in _WATCHED:
            yield path


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2])))
