"""The core tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "api_key",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("prefix", sa.Text(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("scopes", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("prefix"),
    )
    op.create_table(
        "attempt",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("connection_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("thing_id", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("milliseconds", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", "at"),
        postgresql_partition_by="RANGE (at)",
    )
    op.create_index("attempt_of_thing", "attempt", ["thing_id"], unique=False)
    op.create_index("attempt_recent", "attempt", ["connection_id", "at"], unique=False)
    op.create_table(
        "brand",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("timezone", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("name"),
    )
    op.create_table(
        "budget",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("bucket", sa.Text(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("per_ms", sa.BigInteger(), nullable=False),
        sa.Column("slots", sa.ARRAY(sa.BigInteger()), nullable=False),
        sa.Column("counts", sa.ARRAY(sa.Integer()), nullable=False),
        sa.Column("blocked_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("remaining", sa.Integer(), nullable=True),
        sa.Column("remaining_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("key", "bucket", "scope", "per_ms"),
        postgresql_with={"fillfactor": 50},
    )
    op.create_table(
        "budget_cost",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("usd", sa.Numeric(precision=16, scale=6), nullable=False),
        sa.Column("calls", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("key", "day"),
    )
    op.create_table(
        "customer",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "delivery",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("app_id", sa.Uuid(), nullable=True),
        sa.Column("connection_id", sa.Uuid(), nullable=True),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("stream", sa.Text(), nullable=False),
        sa.Column("method", sa.Text(), nullable=False),
        sa.Column("query", sa.LargeBinary(), nullable=False),
        sa.Column("headers", sa.LargeBinary(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("note", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("shard", sa.SmallInteger(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("attempts", sa.SmallInteger(), nullable=False),
        sa.Column("processed_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", "received_at"),
        postgresql_partition_by="RANGE (received_at)",
    )
    op.create_index(
        "delivery_pending", "delivery", ["shard", "id"], unique=False, postgresql_where=sa.text("state = 'pending'")
    )
    op.create_index("delivery_recent", "delivery", ["connection_id", "received_at"], unique=False)
    op.create_index(
        "delivery_failed",
        "delivery",
        ["connection_id", "id"],
        unique=False,
        postgresql_where=sa.text("state = 'failed'"),
    )
    op.create_table(
        "fact",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "idempotent_answer",
        sa.Column("api_key_id", sa.Uuid(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("request", sa.Text(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("headers", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("api_key_id", "key"),
    )
    op.create_table(
        "lease",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("again", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "outbound_pause",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("scope_id", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("paused_by", sa.Text(), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("lifted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("lifted_by", sa.Text(), nullable=True),
        sa.Column("released", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(
        "pause_in_force",
        "outbound_pause",
        ["scope", "scope_id"],
        unique=True,
        postgresql_where=sa.text("lifted_at IS NULL"),
    )
    op.create_table(
        "policy_set",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("members", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("versions", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("digest"),
    )
    op.create_table(
        "refusal",
        sa.Column("endpoint_id", sa.Uuid(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("last_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("endpoint_id", "day", "code"),
    )
    op.create_table(
        "thread",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("root", sa.Text(), nullable=False),
        sa.Column("root_owner", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("scope", "root"),
    )
    op.create_table(
        "tombstone",
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("external_id", sa.Text(), nullable=False),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("deleted_by", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("scope", "external_id"),
    )
    op.create_table(
        "account",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("external_id", sa.Text(), nullable=False),
        sa.Column("customer_id", sa.Uuid(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("handle", sa.Text(), nullable=True),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("url", sa.Text(), nullable=True),
        sa.Column("avatar_url", sa.Text(), nullable=True),
        sa.Column("followers", sa.BigInteger(), nullable=True),
        sa.Column("verified", sa.Boolean(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["customer_id"],
            ["customer.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("scope", "external_id"),
    )
    op.create_index(op.f("ix_account_customer_id"), "account", ["customer_id"], unique=False)
    op.create_table(
        "app",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("plugin", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("brand_id", sa.Uuid(), nullable=True),
        sa.Column("config", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("secrets", sa.LargeBinary(), nullable=True),
        sa.Column("allow_private", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["brand_id"],
            ["brand.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("name"),
    )
    op.create_table(
        "decision",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("point", sa.Text(), nullable=False),
        sa.Column("thing_id", sa.Uuid(), nullable=False),
        sa.Column("revision", sa.Text(), nullable=True),
        sa.Column("ticket_id", sa.Uuid(), nullable=True),
        sa.Column("policy_set_id", sa.Uuid(), nullable=False),
        sa.Column("verdict", sa.Text(), nullable=False),
        sa.Column("coverage", sa.Text(), nullable=True),
        sa.Column("for_tone", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("findings", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("effects", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("case", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["policy_set_id"],
            ["policy_set.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("decision_of_thing", "decision", ["thing_id", "id"], unique=False)
    op.create_index(
        "decision_of_replies", "decision", ["at"], unique=False, postgresql_where=sa.text("point = 'review_reply'")
    )
    op.create_index(op.f("ix_decision_ticket_id"), "decision", ["ticket_id"], unique=False)
    op.create_table(
        "policy",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("brand_id", sa.Uuid(), nullable=True),
        sa.Column("locked", sa.Boolean(), nullable=False),
        sa.Column("draft", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("archived_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["brand_id"],
            ["brand.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("name"),
    )
    op.create_table(
        "connection",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("plugin", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("brand_id", sa.Uuid(), nullable=True),
        sa.Column("app_id", sa.Uuid(), nullable=True),
        sa.Column("account", sa.Text(), nullable=True),
        sa.Column("config", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("secrets", sa.LargeBinary(), nullable=True),
        sa.Column("allow_private", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("helpdesk_id", sa.Uuid(), nullable=True),
        sa.Column("history", sa.Text(), nullable=False),
        sa.Column("history_days", sa.Integer(), nullable=False),
        sa.Column("sla_owner", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("status_reason", sa.Text(), nullable=True),
        sa.Column("paused_in", sa.Boolean(), nullable=False),
        sa.Column("paused_out", sa.Boolean(), nullable=False),
        sa.Column("blocked_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("blocked_reason", sa.Text(), nullable=True),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("last_ok_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("state", sa.LargeBinary(), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["app_id"],
            ["app.id"],
        ),
        sa.ForeignKeyConstraint(
            ["brand_id"],
            ["brand.id"],
        ),
        sa.ForeignKeyConstraint(
            ["helpdesk_id"],
            ["connection.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("role", "name"),
    )
    op.create_index(
        "connection_route",
        "connection",
        ["app_id", "account"],
        unique=True,
        postgresql_where=sa.text("app_id IS NOT NULL"),
    )
    op.create_table(
        "policy_revision",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("policy_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("content", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["policy_id"],
            ["policy.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("policy_id", "number"),
    )
    op.create_table(
        "cursor",
        sa.Column("connection_id", sa.Uuid(), nullable=False),
        sa.Column("stream", sa.Text(), nullable=False),
        sa.Column("cursor", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("polled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("next_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["connection_id"], ["connection.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("connection_id", "stream"),
    )
    op.create_index(op.f("ix_cursor_next_at"), "cursor", ["next_at"], unique=False)
    op.create_table(
        "listener",
        sa.Column("connection_id", sa.Uuid(), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("hinted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("next_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["connection_id"], ["connection.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("connection_id"),
    )
    op.create_table(
        "ticket",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("brand_id", sa.Uuid(), nullable=True),
        sa.Column("connection_id", sa.Uuid(), nullable=False),
        sa.Column("helpdesk_id", sa.Uuid(), nullable=True),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("customer_id", sa.Uuid(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("priority", sa.Text(), nullable=False),
        sa.Column("tags", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("fields", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("external_id", sa.Text(), nullable=True),
        sa.Column("external_url", sa.Text(), nullable=True),
        sa.Column("followup_of", sa.Uuid(), nullable=True),
        sa.Column("linked_to", sa.Uuid(), nullable=True),
        sa.Column("merged_into", sa.Uuid(), nullable=True),
        sa.Column("moved_to", sa.Uuid(), nullable=True),
        sa.Column("ended", sa.Text(), nullable=True),
        sa.Column("assignee", sa.Text(), nullable=True),
        sa.Column("problem", sa.Text(), nullable=True),
        sa.Column("helpdesk_updated_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("opened_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_inbound_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"],
            ["account.id"],
        ),
        sa.ForeignKeyConstraint(
            ["brand_id"],
            ["brand.id"],
        ),
        sa.ForeignKeyConstraint(
            ["connection_id"],
            ["connection.id"],
        ),
        sa.ForeignKeyConstraint(
            ["customer_id"],
            ["customer.id"],
        ),
        sa.ForeignKeyConstraint(
            ["followup_of"],
            ["ticket.id"],
        ),
        sa.ForeignKeyConstraint(
            ["helpdesk_id"],
            ["connection.id"],
        ),
        sa.ForeignKeyConstraint(
            ["linked_to"],
            ["ticket.id"],
        ),
        sa.ForeignKeyConstraint(
            ["moved_to"],
            ["ticket.id"],
        ),
        sa.ForeignKeyConstraint(
            ["merged_into"],
            ["ticket.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(op.f("ix_ticket_connection_id"), "ticket", ["connection_id"], unique=False)
    op.create_index(op.f("ix_ticket_customer_id"), "ticket", ["customer_id"], unique=False)
    op.create_index(op.f("ix_ticket_helpdesk_id"), "ticket", ["helpdesk_id"], unique=False)
    op.create_index(
        "ticket_at_helpdesk",
        "ticket",
        ["helpdesk_id", "external_id"],
        unique=True,
        postgresql_where=sa.text("external_id IS NOT NULL AND merged_into IS NULL"),
    )
    op.create_index("ticket_of_account", "ticket", ["account_id", "opened_at"], unique=False)
    op.create_index(
        "ticket_followed", "ticket", ["followup_of"], unique=False, postgresql_where=sa.text("followup_of IS NOT NULL")
    )
    op.create_index(
        "ticket_merged", "ticket", ["merged_into"], unique=False, postgresql_where=sa.text("merged_into IS NOT NULL")
    )
    op.create_table(
        "wanted",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("connection_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("ref", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("depth", sa.SmallInteger(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("fetched_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["connection_id"], ["connection.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("connection_id", "kind", "ref"),
    )
    op.create_index(
        "wanted_due", "wanted", ["connection_id", "due_at"], unique=False, postgresql_where=sa.text("state = 'pending'")
    )
    op.create_table(
        "interaction",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("external_id", sa.Text(), nullable=False),
        sa.Column("connection_id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("thread_id", sa.Uuid(), nullable=True),
        sa.Column("ticket_id", sa.Uuid(), nullable=True),
        sa.Column("reply_id", sa.Uuid(), nullable=True),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("visibility", sa.Text(), nullable=False),
        sa.Column("direction", sa.Text(), nullable=False),
        sa.Column("addressed", sa.Boolean(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("in_reply_to", sa.Text(), nullable=True),
        sa.Column("url", sa.Text(), nullable=True),
        sa.Column("revision", sa.Text(), nullable=False),
        sa.Column("revisions", sa.Integer(), nullable=False),
        sa.Column("data", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("published_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("version_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("deleted_by", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"],
            ["account.id"],
        ),
        sa.ForeignKeyConstraint(
            ["connection_id"],
            ["connection.id"],
        ),
        sa.ForeignKeyConstraint(
            ["thread_id"],
            ["thread.id"],
        ),
        sa.ForeignKeyConstraint(
            ["ticket_id"],
            ["ticket.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("scope", "external_id"),
    )
    op.create_index(
        "interaction_answers",
        "interaction",
        ["scope", "in_reply_to"],
        unique=False,
        postgresql_where=sa.text("direction = 'outbound'"),
    )
    op.create_index("interaction_by_account", "interaction", ["account_id", "published_at"], unique=False)
    op.create_index(
        "interaction_of_subject",
        "interaction",
        ["scope", sa.literal_column("((data -> 'subject'::text) ->> 'external_id'::text)"), "version_at"],
        unique=False,
        postgresql_where=sa.text("kind = 'review' AND direction = 'inbound' AND deleted_at IS NULL"),
    )
    op.create_index("interaction_thread", "interaction", ["thread_id", "published_at"], unique=False)
    op.create_index("interaction_timeline", "interaction", ["ticket_id", "published_at"], unique=False)
    op.create_index("interaction_window", "interaction", ["connection_id", "published_at"], unique=False)
    op.create_index(op.f("ix_interaction_reply_id"), "interaction", ["reply_id"], unique=False)
    op.create_table(
        "leg",
        sa.Column("thread_id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("ticket_id", sa.Uuid(), nullable=False),
        sa.Column("visibility", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"],
            ["account.id"],
        ),
        sa.ForeignKeyConstraint(
            ["thread_id"],
            ["thread.id"],
        ),
        sa.ForeignKeyConstraint(
            ["ticket_id"],
            ["ticket.id"],
        ),
        sa.PrimaryKeyConstraint("thread_id", "account_id"),
    )
    op.create_index(op.f("ix_leg_ticket_id"), "leg", ["ticket_id"], unique=False)
    op.create_table(
        "note",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("ticket_id", sa.Uuid(), nullable=False),
        sa.Column("helpdesk_id", sa.Uuid(), nullable=False),
        sa.Column("comment_id", sa.Text(), nullable=False),
        sa.Column("author_id", sa.Text(), nullable=False),
        sa.Column("author_name", sa.Text(), nullable=True),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("edited_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["helpdesk_id"],
            ["connection.id"],
        ),
        sa.ForeignKeyConstraint(
            ["ticket_id"],
            ["ticket.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("helpdesk_id", "comment_id"),
    )
    op.create_index(op.f("ix_note_ticket_id"), "note", ["ticket_id"], unique=False)
    op.create_table(
        "push",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("ticket_id", sa.Uuid(), nullable=False),
        sa.Column("helpdesk_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("lane", sa.SmallInteger(), nullable=False),
        sa.Column("payload", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("interaction_id", sa.Uuid(), nullable=True),
        sa.Column("reply_id", sa.Uuid(), nullable=True),
        sa.Column("thread_id", sa.Uuid(), nullable=True),
        sa.Column("source_id", sa.Uuid(), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("change_key", sa.Text(), nullable=True),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("deadline_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("job", sa.Text(), nullable=True),
        sa.Column("external_id", sa.Text(), nullable=True),
        sa.Column("code", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("done_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["helpdesk_id"],
            ["connection.id"],
        ),
        sa.ForeignKeyConstraint(
            ["ticket_id"],
            ["ticket.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("key"),
    )
    op.create_index("push_of_ticket", "push", ["ticket_id", "id"], unique=False)
    op.create_index(
        "push_open",
        "push",
        ["helpdesk_id", "lane", "id"],
        unique=False,
        postgresql_where=sa.text("state IN ('pending','in_flight','job')"),
    )
    op.create_table(
        "interaction_alias",
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("alias", sa.Text(), nullable=False),
        sa.Column("interaction_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(["interaction_id"], ["interaction.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("scope", "alias"),
    )
    op.create_index(op.f("ix_interaction_alias_interaction_id"), "interaction_alias", ["interaction_id"], unique=False)
    op.create_table(
        "reply",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("ticket_id", sa.Uuid(), nullable=False),
        sa.Column("connection_id", sa.Uuid(), nullable=False),
        sa.Column("helpdesk_id", sa.Uuid(), nullable=True),
        sa.Column("comment_id", sa.Text(), nullable=True),
        sa.Column("comment_revision", sa.Text(), nullable=True),
        sa.Column("author_id", sa.Text(), nullable=False),
        sa.Column("author_name", sa.Text(), nullable=True),
        sa.Column("author_email", sa.Text(), nullable=True),
        sa.Column("editors", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("html", sa.Text(), nullable=True),
        sa.Column("attachments", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("leg", sa.Text(), nullable=True),
        sa.Column("visibility", sa.Text(), nullable=True),
        sa.Column("interaction_id", sa.Uuid(), nullable=True),
        sa.Column("rendered", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("digest", sa.Text(), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("decided_on", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("findings", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("approved_digest", sa.Text(), nullable=True),
        sa.Column("approved_by", sa.Text(), nullable=True),
        sa.Column("hold_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("on_timeout", sa.Text(), nullable=True),
        sa.Column("effects_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("approved_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("waived", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("group_id", sa.Uuid(), nullable=True),
        sa.Column("bands", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("amends", sa.Uuid(), nullable=True),
        sa.Column("retract_by", sa.Text(), nullable=True),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("deadline_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("not_after", sa.DateTime(timezone=True), nullable=False),
        sa.Column("external_id", sa.Text(), nullable=True),
        sa.Column("url", sa.Text(), nullable=True),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("written_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["connection_id"],
            ["connection.id"],
        ),
        sa.ForeignKeyConstraint(
            ["helpdesk_id"],
            ["connection.id"],
        ),
        sa.ForeignKeyConstraint(
            ["amends"],
            ["reply.id"],
        ),
        sa.ForeignKeyConstraint(
            ["interaction_id"],
            ["interaction.id"],
        ),
        sa.ForeignKeyConstraint(
            ["ticket_id"],
            ["ticket.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("helpdesk_id", "comment_id"),
        sa.UniqueConstraint("key"),
    )
    op.create_index("reply_of_ticket", "reply", ["ticket_id", "created_at"], unique=False)
    op.create_index(
        "reply_hold_ends",
        "reply",
        ["hold_until"],
        unique=False,
        postgresql_where=sa.text("state = 'held' AND hold_until IS NOT NULL"),
    )
    op.create_index(
        "reply_held", "reply", ["connection_id", "id"], unique=False, postgresql_where=sa.text("state = 'held'")
    )
    op.create_index(
        "reply_answering",
        "reply",
        ["interaction_id"],
        unique=False,
        postgresql_where=sa.text("interaction_id IS NOT NULL"),
    )
    op.create_index("reply_amending", "reply", ["amends"], unique=False, postgresql_where=sa.text("amends IS NOT NULL"))
    op.create_index("reply_alike", "reply", ["bands"], unique=False, postgresql_using="gin")
    op.create_index(
        "reply_grouped", "reply", ["group_id"], unique=False, postgresql_where=sa.text("group_id IS NOT NULL")
    )
    op.create_index(
        "reply_open",
        "reply",
        ["connection_id", "due_at"],
        unique=False,
        postgresql_where=sa.text("state IN ('received', 'queued', 'sending', 'unknown', 'retracting')"),
    )
    op.create_index(
        "reply_sent_as",
        "reply",
        ["connection_id", "external_id"],
        unique=False,
        postgresql_where=sa.text("external_id IS NOT NULL"),
    )
    op.create_table(
        "revision",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("interaction_id", sa.Uuid(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("revision", sa.Text(), nullable=False),
        sa.Column("change", sa.Text(), nullable=False),
        sa.Column("data", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("shard", sa.SmallInteger(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("waits_for", sa.Text(), nullable=True),
        sa.Column("wait_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("delivery_id", sa.BigInteger(), nullable=True),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["interaction_id"], ["interaction.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("interaction_id", "revision"),
    )
    op.create_index(
        "revision_pending", "revision", ["shard", "id"], unique=False, postgresql_where=sa.text("state = 'pending'")
    )
    op.create_index(
        "revision_wait_until", "revision", ["wait_until"], unique=False, postgresql_where=sa.text("state = 'waiting'")
    )
    op.create_index(
        "revision_waiting",
        "revision",
        ["scope", "waits_for"],
        unique=False,
        postgresql_where=sa.text("state = 'waiting'"),
    )
    # what falls outside of the weekly partitions (upkeep makes those) is kept all the same
    op.execute("CREATE TABLE delivery_default PARTITION OF delivery DEFAULT")
    op.execute("CREATE TABLE attempt_default PARTITION OF attempt DEFAULT")


def downgrade() -> None:
    op.drop_index("revision_waiting", table_name="revision", postgresql_where=sa.text("state = 'waiting'"))
    op.drop_index("revision_wait_until", table_name="revision", postgresql_where=sa.text("state = 'waiting'"))
    op.drop_index("revision_pending", table_name="revision", postgresql_where=sa.text("state = 'pending'"))
    op.drop_table("revision")
    op.drop_index("reply_grouped", table_name="reply", postgresql_where=sa.text("group_id IS NOT NULL"))
    op.drop_index("reply_alike", table_name="reply", postgresql_using="gin")
    op.drop_index("reply_amending", table_name="reply", postgresql_where=sa.text("amends IS NOT NULL"))
    op.drop_index("reply_answering", table_name="reply", postgresql_where=sa.text("interaction_id IS NOT NULL"))
    op.drop_index("reply_sent_as", table_name="reply", postgresql_where=sa.text("external_id IS NOT NULL"))
    op.drop_index(
        "reply_open",
        table_name="reply",
        postgresql_where=sa.text("state IN ('received', 'queued', 'sending', 'unknown', 'retracting')"),
    )
    op.drop_index(
        "reply_hold_ends", table_name="reply", postgresql_where=sa.text("state = 'held' AND hold_until IS NOT NULL")
    )
    op.drop_index("reply_held", table_name="reply", postgresql_where=sa.text("state = 'held'"))
    op.drop_index("reply_of_ticket", table_name="reply")
    op.drop_table("reply")
    op.drop_index(op.f("ix_interaction_alias_interaction_id"), table_name="interaction_alias")
    op.drop_table("interaction_alias")
    op.drop_index("push_open", table_name="push", postgresql_where=sa.text("state IN ('pending','in_flight','job')"))
    op.drop_index("push_of_ticket", table_name="push")
    op.drop_table("push")
    op.drop_index(op.f("ix_note_ticket_id"), table_name="note")
    op.drop_table("note")
    op.drop_index(op.f("ix_leg_ticket_id"), table_name="leg")
    op.drop_table("leg")
    op.drop_index(op.f("ix_interaction_reply_id"), table_name="interaction")
    op.drop_index("interaction_window", table_name="interaction")
    op.drop_index("interaction_timeline", table_name="interaction")
    op.drop_index("interaction_thread", table_name="interaction")
    op.drop_index(
        "interaction_of_subject",
        table_name="interaction",
        postgresql_where=sa.text("kind = 'review' AND direction = 'inbound' AND deleted_at IS NULL"),
    )
    op.drop_index("interaction_by_account", table_name="interaction")
    op.drop_table("interaction")
    op.drop_index("wanted_due", table_name="wanted", postgresql_where=sa.text("state = 'pending'"))
    op.drop_table("wanted")
    op.drop_index("ticket_followed", table_name="ticket", postgresql_where=sa.text("followup_of IS NOT NULL"))
    op.drop_index("ticket_merged", table_name="ticket", postgresql_where=sa.text("merged_into IS NOT NULL"))
    op.drop_index("ticket_of_account", table_name="ticket")
    op.drop_index(
        "ticket_at_helpdesk",
        table_name="ticket",
        postgresql_where=sa.text("external_id IS NOT NULL AND merged_into IS NULL"),
    )
    op.drop_index(op.f("ix_ticket_helpdesk_id"), table_name="ticket")
    op.drop_index(op.f("ix_ticket_customer_id"), table_name="ticket")
    op.drop_index(op.f("ix_ticket_connection_id"), table_name="ticket")
    op.drop_table("ticket")
    op.drop_table("listener")
    op.drop_index(op.f("ix_cursor_next_at"), table_name="cursor")
    op.drop_table("cursor")
    op.drop_table("policy_revision")
    op.drop_index("connection_route", table_name="connection", postgresql_where=sa.text("app_id IS NOT NULL"))
    op.drop_table("connection")
    op.drop_table("policy")
    op.drop_index(op.f("ix_decision_ticket_id"), table_name="decision")
    op.drop_index("decision_of_replies", table_name="decision", postgresql_where=sa.text("point = 'review_reply'"))
    op.drop_index("decision_of_thing", table_name="decision")
    op.drop_table("decision")
    op.drop_table("app")
    op.drop_index(op.f("ix_account_customer_id"), table_name="account")
    op.drop_table("account")
    op.drop_table("tombstone")
    op.drop_table("thread")
    op.drop_table("refusal")
    op.drop_table("policy_set")
    op.drop_index("pause_in_force", table_name="outbound_pause", postgresql_where=sa.text("lifted_at IS NULL"))
    op.drop_table("outbound_pause")
    op.drop_table("lease")
    op.drop_table("idempotent_answer")
    op.drop_table("fact")
    op.drop_index("delivery_failed", table_name="delivery", postgresql_where=sa.text("state = 'failed'"))
    op.drop_index("delivery_recent", table_name="delivery")
    op.drop_index("delivery_pending", table_name="delivery", postgresql_where=sa.text("state = 'pending'"))
    op.drop_table("delivery")
    op.drop_table("customer")
    op.drop_table("budget_cost")
    op.drop_table("budget")
    op.drop_table("brand")
    op.drop_index("attempt_recent", table_name="attempt")
    op.drop_index("attempt_of_thing", table_name="attempt")
    op.drop_table("attempt")
    op.drop_table("api_key")
