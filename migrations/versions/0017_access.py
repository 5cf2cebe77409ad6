"""API keys: their successors, and limits of their own."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("api_key", sa.Column("rate_limit", sa.Integer(), nullable=True))
    op.add_column("api_key", sa.Column("origin_id", sa.Uuid(), nullable=True))
    op.add_column("api_key", sa.Column("successor_id", sa.Uuid(), nullable=True))


def downgrade() -> None:
    for column in ("successor_id", "origin_id", "rate_limit"):
        op.drop_column("api_key", column)
