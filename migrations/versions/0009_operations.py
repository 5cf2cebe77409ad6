"""Dead letters: when they are tried again, and indexes of what ended badly."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(
        "clock_open_breached",
        "clock",
        ["kind"],
        unique=False,
        postgresql_where=sa.text("state IN ('running', 'paused') AND breached_at IS NOT NULL"),
    )
    op.create_index(
        "reply_blocked", "reply", ["connection_id"], unique=False, postgresql_where=sa.text("state = 'blocked'")
    )
    op.create_index("reply_failed", "reply", ["id"], unique=False, postgresql_where=sa.text("state = 'failed'"))
    op.create_index("push_failed", "push", ["id"], unique=False, postgresql_where=sa.text("state = 'failed'"))
    for table in ("push", "reply"):
        op.add_column(table, sa.Column("redrive_at", sa.DateTime(timezone=True), nullable=True))
        op.create_index(
            f"{table}_redrive",
            table,
            ["redrive_at"],
            unique=False,
            postgresql_where=sa.text("redrive_at IS NOT NULL"),
        )


def downgrade() -> None:
    for table in ("reply", "push"):
        op.drop_index(f"{table}_redrive", table_name=table)
        op.drop_column(table, "redrive_at")
    op.drop_index("push_failed", table_name="push")
    op.drop_index("reply_failed", table_name="reply")
    op.drop_index("reply_blocked", table_name="reply")
    op.drop_index("clock_open_breached", table_name="clock")
