"""The folder of the embedded PostgreSQL: whose it is, its locks, its password, and what was last started from it.

    <data folder>/postgres/
      control.lock    held exclusively while someone starts or stops the server
      users.lock      held shared by every process of the gateway that uses it
      server.lock     held exclusively by the server itself and by all of its processes: it inherits the open file
      password        of the role `gateway`
      server.json     port and name of the last start
      start.log       what the server says until it writes its own log
      cluster/        PostgreSQL's data folder, its logs in `log/`

All three are locks on open files (flock), so they vanish with the processes that hold them, however those end.
"""

from __future__ import annotations

import errno
import json
import os
import secrets
import stat
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

CONTROL_PATIENCE = 660.0
"""Seconds to wait for another process that starts or stops the server; a little more than such a start may take."""


class EmbeddedPostgresError(RuntimeError):
    """The embedded PostgreSQL cannot be used as it is. The message names the mend."""


@dataclass(frozen=True)
class Account:
    """A system user that the server runs as because we are root, whom PostgreSQL refuses."""

    uid: int
    gid: int

    def can_traverse(self, folder: Path) -> bool:
        """Whether it may pass through `folder` and all of its parents, by their permission bits."""
        return all(self._may_enter(each) for each in (folder, *folder.parents))

    def _may_enter(self, folder: Path) -> bool:
        status = folder.stat()
        if status.st_uid == self.uid:
            return bool(status.st_mode & stat.S_IXUSR)
        return bool(status.st_mode & (stat.S_IXGRP if status.st_gid == self.gid else stat.S_IXOTH))


@dataclass(frozen=True)
class Launch:
    """One start of the server: where it listens, and the name by which its processes are known."""

    port: int
    name: str


NOBODY = Account(65534, 65534)


def find_account(user: int | str) -> Account | None:
    """The account of a user id or name, None when the system knows none."""
    import pwd  # not on Windows, where this module must still import

    try:
        entry = pwd.getpwuid(user) if isinstance(user, int) else pwd.getpwnam(user)
    except KeyError:
        return None
    return Account(entry.pw_uid, entry.pw_gid)


class Folder:
    """Makes and reads what lies in `<data folder>/postgres`. Changes nothing outside it."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = Path(os.path.abspath(data_dir))
        self.root = self.data_dir / "postgres"
        self.cluster = self.root / "cluster"

    def open(self) -> None:
        """Make the folder when it is missing. Raises EmbeddedPostgresError when it belongs to another user."""
        if sys.platform == "win32":
            raise EmbeddedPostgresError(
                "The embedded PostgreSQL runs on Linux and macOS. On Windows set GATEWAY_DATABASE_URL to a PostgreSQL "
                "of your own, or run the gateway in WSL."
            )
        try:
            self.data_dir.parent.mkdir(parents=True, exist_ok=True)
            # Root's server runs as another user, who must pass through; listing and reading stay ours.
            mode = 0o711 if os.geteuid() == 0 else 0o700
            self._make(self.data_dir, mode)
            self._make(self.root, mode)
        except PermissionError as error:
            raise EmbeddedPostgresError(
                f"{error.filename} cannot be made by this user. Run the gateway as the owner of the folder, or set "
                "GATEWAY_DATA_DIR to a folder of your own."
            ) from error
        self.root = self.root.resolve()
        self.cluster = self.root / "cluster"

    def _make(self, folder: Path, mode: int) -> None:
        if folder.is_dir():
            return
        owner = find_account(folder.parent.stat().st_uid) if folder == self.root else None
        try:
            folder.mkdir(mode)
        except FileExistsError:
            return  # another process was faster
        folder.chmod(mode)  # whatever the umask took away
        if owner is not None and owner.uid != 0 and os.geteuid() == 0:
            # Somebody's data folder: so is this one, and the owner can go on with it later without root.
            os.chown(folder, owner.uid, owner.gid, follow_symlinks=False)

    def account(self) -> Account | None:
        """The user to run the server as, None for ourselves. The owner of an existing cluster stays its owner."""
        if os.geteuid() != 0:
            return None
        for folder in (self.cluster, self.root):
            if folder.is_dir() and (owner := folder.stat()).st_uid != 0:
                return find_account(owner.st_uid) or Account(owner.st_uid, owner.st_gid)
        return find_account("nobody") or NOBODY

    def server_path(self) -> str:
        """The cluster's path as the server is given it, together with `cluster` as its working folder.

        Below a closed folder (a home of root's) the server's user could not follow the path. It does not have to: it
        starts inside the cluster, and this name leads there without passing the parents. So the data stay where the
        operator wanted them, and no permission is loosened.
        """
        account = self.account()
        if account is None or account.can_traverse(self.root):
            return str(self.cluster)
        if sys.platform == "linux":
            return "/proc/self/cwd"
        raise EmbeddedPostgresError(
            f"The user with id {account.uid}, whom the database runs as because this is root, cannot pass to "
            f"{self.root}. Run the gateway as an ordinary user, or set GATEWAY_DATA_DIR to a folder that others may "
            "pass through."
        )

    @contextmanager
    def control(self) -> Iterator[None]:
        """Hold the right to start and stop the server. Raises EmbeddedPostgresError when another does for minutes."""
        lock = self.open_lock("control.lock")
        try:
            deadline = time.monotonic() + CONTROL_PATIENCE
            while not try_lock(lock):
                if time.monotonic() > deadline:
                    raise EmbeddedPostgresError(
                        f"Another process has been starting or stopping the database in {self.root} for "
                        f"{CONTROL_PATIENCE:.0f} seconds. End it, then try again; see {self.root / 'start.log'}."
                    )
                time.sleep(0.02)
            yield
        finally:
            unlock(lock)

    def open_lock(self, name: str) -> int:
        """Open one of the lock files, unlocked. It is not handed down to programs that this process starts."""
        path = self.root / name
        try:
            lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except PermissionError as error:
            raise EmbeddedPostgresError(
                f"{path} belongs to the user with id {path.parent.stat().st_uid}. Run the gateway as that user, or set "
                "GATEWAY_DATA_DIR to a folder of your own."
            ) from error
        self._hand_over(lock)
        return lock

    def _hand_over(self, file: int) -> None:
        """Give a file that root made in somebody's folder to its owner, who may come without root next time."""
        owner = self.root.stat()
        if os.geteuid() == 0 and owner.st_uid != 0:
            os.fchown(file, owner.st_uid, owner.st_gid)

    def start_log(self) -> IO[bytes]:
        """Empty the file for the server's first words and open it."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
        log = os.open(self.root / "start.log", flags, 0o600)
        self._hand_over(log)
        return os.fdopen(log, "wb")

    def server_is_running(self) -> bool:
        """Whether any process of the server lives, also one that is starting, stopping or left over."""
        lock = self.open_lock("server.lock")
        try:
            return not try_lock(lock, shared=True)
        finally:
            os.close(lock)

    def password(self) -> str | None:
        """The password of the role `gateway`, None when it was never made or is gone."""
        with suppress(FileNotFoundError):
            return (self.root / "password").read_text("ascii").strip() or None
        return None

    def make_password(self) -> str:
        """Make a new password and write it down. Only its holder can be believed to be this folder's server."""
        password = secrets.token_urlsafe(32)
        self._write("password", password)
        return password

    def launch(self) -> Launch | None:
        """The last start, None before the first."""
        try:
            record = json.loads((self.root / "server.json").read_text("ascii"))
            return Launch(int(record["port"]), str(record["name"]))
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return None

    def record(self, launch: Launch) -> None:
        """Write down what is being started."""
        self._write("server.json", json.dumps({"port": launch.port, "name": launch.name}))

    def _write(self, name: str, content: str) -> None:
        """Replace a file as a whole and for good: readable by its owner only, and never seen half written."""
        descriptor, temporary = tempfile.mkstemp(prefix=f".{name}.", dir=self.root)  # made with 0600
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(content)
            file.flush()
            self._hand_over(descriptor)
            os.fsync(descriptor)
        os.replace(temporary, self.root / name)
        sync_folder(self.root)


def try_lock(lock: int, *, shared: bool = False) -> bool:
    """Take the lock if that is possible at once."""
    import fcntl  # not on Windows, where this module must still import

    try:
        fcntl.flock(lock, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP):
            raise EmbeddedPostgresError(
                "The data folder's file system has no file locks. Set GATEWAY_DATA_DIR to a folder on a local disk."
            ) from error
        raise
    return True


def unlock(lock: int) -> None:
    """Give the lock up, also on behalf of forked children that hold the same open file, and close it."""
    import fcntl  # not on Windows, where this module must still import

    fcntl.flock(lock, fcntl.LOCK_UN)
    os.close(lock)


def sync_folder(folder: Path) -> None:
    """Make names created in the folder outlive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
