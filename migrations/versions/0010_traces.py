"""Attempts name everything that shared their call, so that each message's trace shows it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("attempt", sa.Column("also", sa.ARRAY(sa.Text()), nullable=True))


def downgrade() -> None:
    op.drop_column("attempt", "also")
