"""The gateway's own PostgreSQL, for whoever sets no GATEWAY_DATABASE_URL.

It outlives the process that started it: it has its own session, and each process of the gateway only holds a share in
it. The last one to stop stops the server. Which of them is the first or the last is decided by file locks alone
(`embedded_folder`), so a process that is killed leaves nothing behind that the next start would have to believe.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil
import psycopg
from psycopg import pq

from gateway.db import embedded_cluster as cluster
from gateway.db.embedded_folder import EmbeddedPostgresError, Folder, Launch, try_lock, unlock
from gateway.db.embedded_install import find_programs

__all__ = ["EmbeddedPostgres", "EmbeddedPostgresError"]

DATABASE = "gateway"
REFUSAL = 15.0
"""Seconds that a server may refuse the folder's password, for want of a free connection for example."""
SILENCE = 60.0
"""Seconds that a server may leave calls unanswered before a start gives up on it."""
RECOVERY = 600.0
"""Seconds that a server may answer "not yet", which it does while it replays its log after a crash."""
ORPHANS = 1.0
"""Seconds that processes of a killed server get to notice it and end by themselves."""
STOPPING = 60.0
"""Seconds for an orderly stop, which writes everything out. Then it stops as in a crash, which loses nothing either."""


class EmbeddedPostgres:
    """One process's share in the server of a data folder. Blocking; call it from a thread in asynchronous code.

    `settings` are PostgreSQL's own and win over the gateway's; only tests should need them. Safe to use from several
    threads. A server that is running already keeps the settings it was started with.
    """

    def __init__(self, data_dir: Path, settings: Mapping[str, str] | None = None) -> None:
        self._folder = Folder(data_dir)
        self._settings = dict(settings or {})
        self._mutex = threading.RLock()
        self._share: int | None = None
        self._url: str | None = None

    @property
    def url(self) -> str:
        """The database: `postgresql://gateway:…@127.0.0.1:port/gateway?…`. Raises RuntimeError before `start`."""
        if self._url is None:
            raise RuntimeError("the embedded PostgreSQL was not started")
        return self._url

    def start(self) -> str:
        """Take a share in the server, starting it when it does not run, and return its URL.

        About a second for a new data folder, a tenth for an existing one. A running server is adopted after a login
        with the folder's password. Raises EmbeddedPostgresError, whose message names the mend.
        """
        with self._mutex:
            if self._share is not None:
                return self.ensure()
            self._folder.open()
            with self._folder.control():
                self._url = self._bring_up()
                self._share = self._folder.open_lock("users.lock")
                try_lock(self._share, shared=True)  # succeeds: the exclusive lock is only tried under `control`
            return self._url

    def ensure(self) -> str:
        """See that the server answers and start it again when it does not; about a millisecond when all is well.

        Called by a supervisor every few seconds. Returns the URL, which changes when the server had to move to another
        port because a stranger took its own. Raises RuntimeError before `start`, EmbeddedPostgresError as `start` does.
        """
        with self._mutex:
            if self._share is None:
                raise RuntimeError("the embedded PostgreSQL was not started")
            launch = self._folder.launch()
            if launch is not None and self._folder.server_is_running() and self._ping(launch) == pq.Ping.OK:
                self._url = self._address(launch)
                cluster.drop_old_logs(self._folder.cluster)
                return self._url
            with self._folder.control():
                self._url = self._bring_up()
            return self._url

    def stop(self) -> None:
        """Give up this process's share. The last one out stops the server: connections end, everything is written out.

        Does nothing when there is no share. Raises EmbeddedPostgresError when the server does not stop.
        """
        with self._mutex:
            if self._share is None:
                return
            share, self._share, self._url = self._share, None, None
            try:
                with self._folder.control():
                    unlock(share)
                    share = -1
                    if self._is_unused():
                        self._shut_down()
            finally:
                if share >= 0:
                    unlock(share)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _is_unused(self) -> bool:
        users = self._folder.open_lock("users.lock")
        try:
            return try_lock(users)
        finally:
            os.close(users)

    def _bring_up(self) -> str:
        """Adopt the server that runs, or start one. Called under `control`."""
        for _ in range(10):
            process = self._launch_if_stopped()
            launch = self._wait(process)
            if launch is not None:
                cluster.drop_old_logs(self._folder.cluster)
                return self._address(launch)
        raise EmbeddedPostgresError(
            f"The database in {self._folder.root} keeps ending:\n{cluster.last_words(self._folder)}"
        )

    def _launch_if_stopped(self) -> subprocess.Popen[bytes] | None:
        """Start the server unless one of its processes lives."""
        folder = self._folder
        lock = folder.open_lock("server.lock")
        try:
            if not try_lock(lock):
                return None
            programs = find_programs(folder)
            cluster.prepare(folder, programs, lock)
            last = folder.launch()
            port = cluster.choose_port(last.port if last else None)
            # The name is new each time, so that neither a recycled process id nor the server of a copied folder passes.
            launch = Launch(port, f"helpdesk-gateway-{secrets.token_hex(8)}")
            folder.record(launch)
            with folder.start_log() as log:
                arguments = cluster.arguments(folder, launch, self._settings)
                process = programs.spawn("postgres", *arguments, folder=folder.cluster, log=log, inherit=lock)
            # Waits for it as long as this process lives: a child that ended must not stay behind as a zombie.
            threading.Thread(target=process.wait, name="embedded-postgres", daemon=True).start()
            return process
        finally:
            os.close(lock)  # but not unlocked: the server has inherited the open file

    def _wait(self, process: subprocess.Popen[bytes] | None) -> Launch | None:
        """Wait until the server answers and has proved to be ours; None when it ended and is worth another try."""
        begun = time.monotonic()
        heard = begun
        refusal: psycopg.Error | None = None
        while True:
            launch = self._folder.launch()
            if process is not None and process.poll() is not None:
                if process.returncode < 0:
                    return None  # somebody killed it
                if launch is not None and not cluster.port_is_free(launch.port):
                    return None  # somebody took the port between our look and the server's
                raise EmbeddedPostgresError(
                    f"The database in {self._folder.root} did not start:\n{cluster.last_words(self._folder)}"
                )
            if process is None and not self._folder.server_is_running():
                return None
            answer = self._ping(launch) if launch is not None else pq.Ping.NO_RESPONSE
            if launch is not None and answer == pq.Ping.OK:
                try:
                    self._prove(launch)
                    return launch
                except psycopg.Error as error:
                    refusal = error
            now = time.monotonic()
            if answer == pq.Ping.REJECT:
                heard = now
            if now - heard > (SILENCE if refusal is None else REFUSAL) or now - begun > RECOVERY:
                self._give_up(process, refusal)
            if process is None and answer == pq.Ping.NO_RESPONSE and now - begun > ORPHANS:
                self._end_orphans(launch)
            time.sleep(0.02 if refusal is None else 0.2)

    def _give_up(self, process: subprocess.Popen[bytes] | None, refusal: psycopg.Error | None) -> None:
        """Raise the error that says what is known. A server that this call started is stopped."""
        if process is not None:
            process.send_signal(signal.SIGINT)
        if refusal is not None:
            raise EmbeddedPostgresError(
                f"A server answers for {self._folder.root}, but a login with the folder's password fails ({refusal}). "
                "If the password file was replaced, stop the server's processes, delete the file and start again: the "
                "password is then made anew."
            ) from refusal
        raise EmbeddedPostgresError(
            f"A database server holds {self._folder.root} but does not answer. If it runs in another container or on "
            "another machine, stop it there: a data folder belongs to one machine at a time. Its last words:\n"
            f"{cluster.last_words(self._folder)}"
        )

    def _prove(self, launch: Launch) -> None:
        """Log in, which only the server that knows our password survives, and make the database when it is missing.

        SCRAM proves the password to both sides: a stranger on our port learns nothing. Raises psycopg.Error otherwise.
        """
        with psycopg.connect(self._address(launch, "postgres"), autocommit=True, connect_timeout=10) as connection:
            name = connection.execute("SHOW cluster_name").fetchone()
            if name != (launch.name,):
                raise psycopg.OperationalError(f"its name is {name}, not {launch.name}")
            if connection.execute("SELECT FROM pg_database WHERE datname = %s", [DATABASE]).fetchone() is None:
                connection.execute(f"CREATE DATABASE {DATABASE}")

    def _ping(self, launch: Launch) -> int:
        """Whether a server answers on the port, without a login. Asked as a stranger, it would log each time."""
        user = f"user={cluster.ROLE} dbname=postgres"
        return pq.PGconn.ping(f"host=127.0.0.1 port={launch.port} {user} sslmode=disable connect_timeout=2".encode())

    def _address(self, launch: Launch, database: str = DATABASE) -> str:
        password = self._folder.password()
        if password is None:
            raise EmbeddedPostgresError(
                f"The file {self._folder.root / 'password'} is gone while the database runs. Stop the database's "
                "processes and start again: the password is then made anew."
            )
        # The server has no TLS to ask for. A stranger who took the port must not be handed the password.
        options = "sslmode=disable&require_auth=scram-sha-256" if pq.version() >= 160_000 else "sslmode=disable"
        return f"postgresql://{cluster.ROLE}:{password}@127.0.0.1:{launch.port}/{database}?{options}"

    def _end_orphans(self, launch: Launch | None) -> None:
        """End what is left of a server whose main process was killed.

        A backend in a long statement notices that only at its end, and until then PostgreSQL refuses to start again.
        Nothing is lost: what was committed is in the log that the next start replays.
        """
        main, others = cluster.server_processes(launch)
        if main is None:
            for process in others:
                with contextlib.suppress(psutil.Error):
                    process.kill()

    def _shut_down(self) -> None:
        """Stop the server. Called under `control` by the last one out."""
        launch = self._folder.launch()
        for order, patience in ((signal.SIGINT, STOPPING), (signal.SIGQUIT, 10.0), (signal.SIGKILL, 10.0)):
            main, others = cluster.server_processes(launch)
            for process in others if main is None else [main]:  # without the main one the rest is left over
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.send_signal(order if main is not None else signal.SIGKILL)
            deadline = time.monotonic() + patience
            while time.monotonic() < deadline:
                if not self._folder.server_is_running():
                    return
                time.sleep(0.01)
        raise EmbeddedPostgresError(f"The database in {self._folder.root} does not stop; end its processes.")
