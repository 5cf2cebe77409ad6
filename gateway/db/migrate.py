"""Brings the database's schema up to date with Alembic, from the folder that ships with the gateway."""

from __future__ import annotations

import time
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, create_engine, make_url, text

import gateway
from gateway.db.watch import watch

LOCK = 7_226_513_401
"""Advisory lock: of several processes starting together one migrates and the others wait."""


def migrations_folder() -> Path:
    """`gateway/_migrations` in an installed wheel, `migrations/` beside the package in a checkout."""
    package = Path(gateway.__file__).parent
    shipped = package / "_migrations"
    return shipped if shipped.is_dir() else package.parent / "migrations"


def configuration(url: str) -> Config:
    """Alembic's configuration for this database."""
    config = Config()
    config.set_main_option("script_location", str(migrations_folder()).replace("%", "%%"))
    config.attributes["url"] = make_url(url).set(drivername="postgresql+psycopg")
    return config


def _wait_for_turn(connection: Connection) -> None:
    """Asks again and again: who waits within a statement has a snapshot, for the end of which an index that is built
    concurrently waits in its turn."""
    while not connection.execute(text("SELECT pg_try_advisory_lock(:lock)"), {"lock": LOCK}).scalar_one():
        connection.rollback()
        time.sleep(0.1)
    connection.commit()


def migrate(url: str, revision: str = "head") -> None:
    """Upgrade to `revision`; does nothing when the schema is there already. Blocking."""
    config = configuration(url)
    engine = create_engine(config.attributes["url"])
    try:
        with engine.connect() as connection:
            _wait_for_turn(connection)
            try:
                config.attributes["connection"] = connection
                command.upgrade(config, revision)
                connection.commit()
                watch(connection)
            finally:
                connection.rollback()
                connection.execute(text("SELECT pg_advisory_unlock(:lock)"), {"lock": LOCK})
                connection.commit()
    finally:
        engine.dispose()
