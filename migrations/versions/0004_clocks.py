"""Calendars, clocks and their events; the built-in calendar `always`."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "calendar",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("feed", sa.LargeBinary(), nullable=True),
        sa.Column("allow_private", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("feed_due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("feed_fetched_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("feed_problem", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(
        "calendar_by_name", "calendar", ["name"], unique=True, postgresql_where=sa.text("deleted_at IS NULL")
    )
    op.create_index(
        "calendar_feed_due",
        "calendar",
        ["feed_due_at"],
        unique=False,
        postgresql_where=sa.text("feed_due_at IS NOT NULL"),
    )
    op.create_table(
        "calendar_version",
        sa.Column("calendar_id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("definition", postgresql.JSONB(), nullable=False),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["calendar_id"], ["calendar.id"]),
        sa.PrimaryKeyConstraint("calendar_id", "version"),
    )
    op.create_table(
        "clock",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("ticket_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("policy", sa.Text(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=True),
        sa.Column("slot", sa.Text(), nullable=False),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("calendar_id", sa.Uuid(), nullable=False),
        sa.Column("calendar_version", sa.Integer(), nullable=False),
        sa.Column("target", sa.Interval(), nullable=True),
        sa.Column("fixed_due", sa.DateTime(timezone=True), nullable=True),
        sa.Column("steps", postgresql.JSONB(), nullable=False),
        sa.Column("stops_on", sa.Text(), nullable=False),
        sa.Column("pauses", sa.Boolean(), nullable=False),
        sa.Column("credit", sa.Interval(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("running_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("stretches", postgresql.JSONB(), nullable=False),
        sa.Column("asked", postgresql.JSONB(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("next_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("step", sa.SmallInteger(), nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("breached_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("stopped_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("stopped_by", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("remark", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["calendar_id", "calendar_version"], ["calendar_version.calendar_id", "calendar_version.version"]
        ),
        sa.ForeignKeyConstraint(["ticket_id"], ["ticket.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("ticket_id", "kind", "policy", "slot"),
    )
    op.create_index("clock_next", "clock", ["next_at"], unique=False, postgresql_where=sa.text("state = 'running'"))
    op.create_index(
        "clock_of_calendar",
        "clock",
        ["calendar_id", "calendar_version"],
        unique=False,
        postgresql_where=sa.text("state IN ('running', 'paused')"),
    )
    op.create_index(
        "clock_breached", "clock", ["id"], unique=False, postgresql_where=sa.text("breached_at IS NOT NULL")
    )
    op.create_table(
        "clock_event",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("clock_id", sa.Uuid(), nullable=False),
        sa.Column("ticket_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("step", sa.SmallInteger(), nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("data", postgresql.JSONB(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("handled_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["clock_id"], ["clock.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("clock_id", "round", "kind", "step"),
    )
    op.create_index(
        "clock_event_open", "clock_event", ["id"], unique=False, postgresql_where=sa.text("handled_at IS NULL")
    )
    op.create_index("clock_event_of_ticket", "clock_event", ["ticket_id", "id"], unique=False)
    op.create_table(
        "fulfilment",
        sa.Column("ticket_id", sa.Uuid(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("on", sa.Text(), nullable=False),
        sa.Column("kinds", sa.ARRAY(sa.Text()), nullable=False),
        sa.ForeignKeyConstraint(["ticket_id"], ["ticket.id"]),
        sa.PrimaryKeyConstraint("ticket_id", "at", "by", "on"),
    )
    always = "00000000-0000-7000-8000-000000000001"
    op.execute(
        f"""
        INSERT INTO calendar (id, name, version, allow_private, created_at, updated_at)
        VALUES ('{always}', 'always', 1, '{{}}', 'epoch', 'epoch')
        """
    )
    op.execute(
        f"""
        INSERT INTO calendar_version (calendar_id, version, definition, author, created_at)
        SELECT '{always}', 1, jsonb_build_object('timezone', 'UTC', 'hours', jsonb_object_agg(
            day, '[["00:00", "24:00"]]'::jsonb)), 'built in', 'epoch'
        FROM unnest(ARRAY['monday', 'tuesday', 'wednesday', 'thursday', 'friday', 'saturday', 'sunday']) AS day
        """
    )


def downgrade() -> None:
    for table in ("fulfilment", "clock_event", "clock", "calendar_version", "calendar"):
        op.drop_table(table)
