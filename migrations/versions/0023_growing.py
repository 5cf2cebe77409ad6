"""Indexes for what would otherwise take longer the more is stored, built while the gateway goes on."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None

INDEXES = (
    ("push_of_interaction", "push", ("interaction_id",), "interaction_id IS NOT NULL"),
    ("push_change", "push", ("change_key",), "change_key IS NOT NULL"),
    ("push_out", "push", ("helpdesk_id", "due_at"), "state IN ('in_flight','job')"),
    ("ticket_numbered", "ticket", ("helpdesk_id", "external_id"), "external_id IS NOT NULL"),
    ("incident_member_newest", "incident_member", ("incident_id", "at", "interaction_id"), None),
    ("event_delivery_turn", "event_delivery", ("subscription_id", "due_at", "id"), "state = 'pending'"),
    (
        "event_delivery_out",
        "event_delivery",
        ("subscription_id", "deadline_at"),
        "state = 'pending' AND deadline_at IS NOT NULL",
    ),
)


def _build(name: str, table: str, columns: tuple[str, ...], where: str | None) -> None:
    # one that was interrupted is there, and of no use
    op.drop_index(name, table, if_exists=True, postgresql_concurrently=True)
    op.create_index(
        name,
        table,
        list(columns),
        postgresql_where=sa.text(where) if where else None,
        postgresql_concurrently=True,
    )


def upgrade() -> None:
    with op.get_context().autocommit_block():
        for index in INDEXES:
            _build(*index)
        op.drop_index("event_delivery_due", "event_delivery", if_exists=True, postgresql_concurrently=True)


def downgrade() -> None:
    with op.get_context().autocommit_block():
        _build("event_delivery_due", "event_delivery", ("subscription_id", "due_at"), "state = 'pending'")
        for name, table, *_ in INDEXES:
            op.drop_index(name, table, if_exists=True, postgresql_concurrently=True)
