"""Indexes of what ended badly, for metrics and dead letters."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0007"
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


def downgrade() -> None:
    op.drop_index("push_failed", table_name="push")
    op.drop_index("reply_failed", table_name="reply")
    op.drop_index("reply_blocked", table_name="reply")
    op.drop_index("clock_open_breached", table_name="clock")
