"""Built wheels in environments of their own, away from the checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from support.repository import ROOT, Distribution


@dataclass(frozen=True)
class Environment:
    """A virtual environment outside the checkout."""

    folder: Path

    def run(self, command: str, *args: str) -> str:
        """What the command prints, started where an unlucky import finds nothing; fails the test when it fails."""
        elsewhere = self.folder / "elsewhere"
        elsewhere.mkdir(exist_ok=True)
        return run(str(self.scripts / command), *args, cwd=elsewhere, env=self.variables)

    @property
    def scripts(self) -> Path:
        """Where its commands are."""
        return self.folder / ("Scripts" if sys.platform == "win32" else "bin")

    @property
    def variables(self) -> dict[str, str]:
        """The environment's variables, as they are once it was activated."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
        path = os.pathsep.join([str(self.scripts), kept.get("PATH", "")])
        return kept | {"NO_COLOR": "1", "PATH": path, "VIRTUAL_ENV": str(self.folder)}


def run(*command: str, cwd: Path = ROOT, env: dict[str, str] | None = None) -> str:
    """What a command prints; fails the test when it fails."""
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=240, check=False)
    if done.returncode:
        pytest.fail(f"{' '.join(command)} ended with {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done.stdout


def uv() -> str:
    """The installer that `make setup` put beside the interpreter."""
    found = shutil.which("uv", path=str(Path(sys.executable).parent)) or shutil.which("uv")
    assert found, "uv is missing; make setup installs it"
    return found


def environment(folder: Path, *wheels: str, pip: bool = False) -> Environment:
    """Install the wheels, pinned; from uv's cache alone where that holds all of it, as after `make setup`."""
    if pip:
        run(sys.executable, "-m", "venv", str(folder))
    else:
        run(uv(), "venv", "--quiet", "--python", sys.executable, str(folder))
    install = [uv(), "pip", "install", "--quiet", "--python", str(folder), "-c", str(ROOT / "constraints.txt"), *wheels]
    cached = subprocess.run([*install, "--offline"], cwd=folder, capture_output=True, timeout=240, check=False)
    if cached.returncode:
        run(*install, cwd=folder)
    return Environment(folder)


def build(distribution: Distribution, out: Path) -> Path:
    """The distribution's wheel, built into a folder."""
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(out), cwd=distribution.folder)
    (wheel,) = out.glob("*.whl")
    return wheel
