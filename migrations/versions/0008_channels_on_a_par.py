"""Times of the helpdesks' own tickets, and when ours were solved and reopened."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "foreign_ticket",
        sa.Column("helpdesk_id", sa.Uuid(), nullable=False),
        sa.Column("external_id", sa.Text(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("began_at", TIME, nullable=False),
        sa.Column("answered_at", TIME, nullable=True),
        sa.Column("solved_at", TIME, nullable=True),
        sa.Column("reopened", sa.Integer(), nullable=False),
        sa.Column("deleted", sa.Boolean(), nullable=False),
        sa.Column("changed_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(["helpdesk_id"], ["connection.id"]),
        sa.PrimaryKeyConstraint("helpdesk_id", "external_id"),
    )
    op.create_index("foreign_ticket_began", "foreign_ticket", ["began_at"], unique=False)
    op.add_column("ticket", sa.Column("solved_at", TIME, nullable=True))
    op.add_column("ticket", sa.Column("reopened", sa.Integer(), server_default=sa.text("0"), nullable=False))


def downgrade() -> None:
    op.drop_column("ticket", "reopened")
    op.drop_column("ticket", "solved_at")
    op.drop_index("foreign_ticket_began", table_name="foreign_ticket")
    op.drop_table("foreign_ticket")
