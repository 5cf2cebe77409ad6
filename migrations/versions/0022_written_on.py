"""On which ticket an answer was written, where that was merged into another one later, and when that was learnt."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("reply", sa.Column("written_on", sa.Uuid(), nullable=True))
    op.add_column("ticket", sa.Column("merged_at", sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    op.drop_column("ticket", "merged_at")
    op.drop_column("reply", "written_on")
