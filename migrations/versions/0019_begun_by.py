"""Who began to connect an account, where they called with a token."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("authorisation_request", sa.Column("caller_subject", sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column("authorisation_request", "caller_subject")
