"""More indexes for what would otherwise take longer the more is stored, built while the gateway goes on."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None

INDEXES = (
    ("leg_first", "leg", ("thread_id", "created_at", "ticket_id"), None),
    ("interaction_loose", "interaction", ("thread_id", "account_id"), "ticket_id IS NULL AND deleted_at IS NULL"),
    (
        "interaction_loose_own",
        "interaction",
        ("thread_id",),
        "ticket_id IS NULL AND deleted_at IS NULL AND direction = 'outbound' AND visibility = 'private'",
    ),
    ("reply_newest", "reply", ("created_at",), None),
    ("wanted_named", "wanted", ("connection_id", "ref"), None),
)


def upgrade() -> None:
    with op.get_context().autocommit_block():
        for name, table, columns, where in INDEXES:
            # one that was interrupted is there, and of no use
            op.drop_index(name, table, if_exists=True, postgresql_concurrently=True)
            op.create_index(
                name,
                table,
                list(columns),
                postgresql_where=sa.text(where) if where else None,
                postgresql_concurrently=True,
            )


def downgrade() -> None:
    with op.get_context().autocommit_block():
        for name, table, *_ in INDEXES:
            op.drop_index(name, table, if_exists=True, postgresql_concurrently=True)
