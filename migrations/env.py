"""Alembic's entry: runs migrations on the connection that `gateway.db.migrate` hands over."""

from __future__ import annotations

from alembic import context
from sqlmodel import SQLModel

import gateway.db.tables  # noqa: F401  the metadata is complete once the tables are imported


def ours(name: str | None, kind: str, _: object) -> bool:
    """The job engine keeps its own tables, and partitions belong to their parents."""
    return not (
        kind == "table"
        and name is not None
        and (name.startswith("procrastinate_") or "_p20" in name or name.endswith("_default"))
    )


connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=SQLModel.metadata,
    include_name=ours,
    compare_type=True,
    transaction_per_migration=True,  # one may build its indexes outside of it
)
with context.begin_transaction():
    context.run_migrations()
connection.commit()
