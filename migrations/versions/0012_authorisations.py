"""Consent of accounts by OAuth: tokens, and who is on the way to give it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def _time(name: str, *, nullable: bool = True) -> sa.Column[sa.DateTime]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def upgrade() -> None:
    op.create_table(
        "authorisation",
        sa.Column("connection_id", sa.Uuid(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("tokens", sa.LargeBinary(), nullable=True),
        sa.Column("client", sa.LargeBinary(), nullable=True),
        sa.Column("scopes", sa.ARRAY(sa.Text()), nullable=False),
        _time("granted_at"),
        sa.Column("granted_by", sa.Text(), nullable=True),
        _time("renewed_at"),
        _time("access_expires_at"),
        _time("refresh_expires_at"),
        _time("renew_at"),
        _time("begun_until"),
        sa.Column("hastened", sa.Integer(), nullable=True),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["connection_id"], ["connection.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("connection_id"),
    )
    op.create_index(
        "authorisation_renew",
        "authorisation",
        ["renew_at"],
        unique=False,
        postgresql_where=sa.text("state = 'granted' AND renew_at IS NOT NULL"),
    )
    op.create_table(
        "authorisation_request",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("state_hash", sa.LargeBinary(), nullable=False),
        sa.Column("connection_id", sa.Uuid(), nullable=False),
        sa.Column("caller_id", sa.Uuid(), nullable=False),
        sa.Column("caller", sa.Text(), nullable=False),
        sa.Column("redirect_uri", sa.Text(), nullable=False),
        sa.Column("verifier", sa.LargeBinary(), nullable=True),
        _time("created_at", nullable=False),
        _time("expires_at", nullable=False),
        sa.ForeignKeyConstraint(["connection_id"], ["connection.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("state_hash"),
    )
    op.create_index("ix_authorisation_request_expires_at", "authorisation_request", ["expires_at"], unique=False)


def downgrade() -> None:
    op.drop_table("authorisation_request")
    op.drop_table("authorisation")
