"""How connections fare: what was proven last, what is wrong, and whether a ticket tells of it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "channel_health",
        sa.Column("connection_id", sa.Uuid(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("since", TIME, nullable=False),
        sa.Column("code", sa.Text(), nullable=True),
        sa.Column("concern", sa.Text(), nullable=True),
        sa.Column("weight", sa.Text(), nullable=True),
        sa.Column("message", sa.Text(), nullable=True),
        sa.Column("mend", sa.Text(), nullable=True),
        sa.Column("suspected_at", TIME, nullable=True),
        sa.Column("bad", sa.Integer(), nullable=False),
        sa.Column("good", sa.Integer(), nullable=False),
        sa.Column("findings", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("proven_at", TIME, nullable=True),
        sa.Column("proven_by", sa.Text(), nullable=True),
        sa.Column("looked_at", TIME, nullable=True),
        sa.Column("probed_at", TIME, nullable=True),
        sa.Column("next_at", TIME, nullable=False),
        sa.Column("door", sa.Text(), nullable=True),
        sa.Column("pushed_at", TIME, nullable=True),
        sa.Column("missed", sa.Integer(), nullable=False),
        sa.Column("counts_from", TIME, nullable=True),
        sa.Column("refused", sa.BigInteger(), nullable=False),
        sa.Column("repaired_at", TIME, nullable=True),
        sa.Column("expires_at", TIME, nullable=True),
        sa.Column("expiry_told_at", TIME, nullable=True),
        sa.Column("incident_id", sa.Uuid(), nullable=True),
        sa.Column("quiet", sa.Boolean(), nullable=False),
        sa.Column("expectation", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.ForeignKeyConstraint(["connection_id"], ["connection.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("connection_id"),
    )
    op.create_index("channel_health_due", "channel_health", ["next_at"])
    op.create_index(
        "channel_health_unwell",
        "channel_health",
        ["connection_id"],
        postgresql_where=sa.text("state = 'unhealthy'"),
    )
    op.add_column(
        "connection", sa.Column("health_ticket", sa.Boolean(), nullable=False, server_default=sa.text("false"))
    )


def downgrade() -> None:
    op.drop_column("connection", "health_ticket")
    op.drop_index("channel_health_unwell", table_name="channel_health")
    op.drop_index("channel_health_due", table_name="channel_health")
    op.drop_table("channel_health")
