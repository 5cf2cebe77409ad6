"""Which fields of a configuration were filled in by install: they belong to an installation, not to its files."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

TABLES = ("app", "connection")


def upgrade() -> None:
    for table in TABLES:
        op.add_column(
            table, sa.Column("installed", sa.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False)
        )


def downgrade() -> None:
    for table in TABLES:
        op.drop_column(table, "installed")
