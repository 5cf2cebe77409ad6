"""The audit log, and what keeps it append-only."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

# Called for each row of a watched table that a transaction on record changes (see gateway.db.watch). The arguments name
# columns: the key's, those whose change alone tells nothing, and those whose values are shown. Of all others the digest
# is kept, here already, so that no text and no secret stays behind in this table's pages.
CAPTURE = """
CREATE FUNCTION audit_capture() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    key text[] := string_to_array(TG_ARGV[0], ',');
    quiet text[] := string_to_array(TG_ARGV[1], ',');
    shown text[] := string_to_array(TG_ARGV[2], ',');
    old_row jsonb := CASE WHEN TG_OP <> 'INSERT' THEN to_jsonb(OLD) END;
    new_row jsonb := CASE WHEN TG_OP <> 'DELETE' THEN to_jsonb(NEW) END;
    name text;
BEGIN
    SELECT string_agg(COALESCE(new_row, old_row) ->> k.name, '/' ORDER BY k.place) INTO name
    FROM unnest(key) WITH ORDINALITY AS k (name, place);
    old_row := old_row - quiet;
    new_row := new_row - quiet;
    IF TG_OP = 'UPDATE' THEN
        SELECT jsonb_object_agg(o.key, o.value), jsonb_object_agg(o.key, new_row -> o.key) INTO old_row, new_row
        FROM jsonb_each(old_row) AS o WHERE o.value IS DISTINCT FROM new_row -> o.key;
        IF old_row IS NULL THEN
            RETURN NULL;
        END IF;
    END IF;
    INSERT INTO audit_pending (transaction, origin, kind, thing, before, after)
    VALUES (pg_current_xact_id()::text::bigint, current_setting('gateway.audit'), TG_TABLE_NAME, name,
            audit_shown(old_row, shown), audit_shown(new_row, shown));
    RETURN NULL;
END $$
"""

SHOWN = """
CREATE FUNCTION audit_shown(entire jsonb, shown text[]) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
    SELECT jsonb_object_agg(c.key, CASE WHEN c.key = ANY(shown) OR jsonb_typeof(c.value) = 'null' THEN c.value
        ELSE jsonb_build_object('sha256', encode(sha256(convert_to(c.value #>> '{}', 'UTF8')), 'hex')) END)
    FROM jsonb_each(entire) AS c
$$
"""

APPEND_ONLY = """
CREATE FUNCTION audit_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND NEW.changes IS NULL AND NEW.salt IS NULL
        AND to_jsonb(NEW) - ARRAY['changes', 'salt'] = to_jsonb(OLD) - ARRAY['changes', 'salt'] THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'audit_entry is append-only: % is refused', TG_OP
        USING ERRCODE = 'insufficient_privilege',
              HINT = 'Personal data is taken out of entries by erasing the person; see the documentation on auditing.';
END $$
"""


def upgrade() -> None:
    op.create_table(
        "audit_entry",
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor_kind", sa.Text(), nullable=False),
        sa.Column("actor_id", sa.Text(), nullable=True),
        sa.Column("actor_name", sa.Text(), nullable=False),
        sa.Column("key_prefix", sa.Text(), nullable=True),
        sa.Column("address", sa.Text(), nullable=True),
        sa.Column("trace_id", sa.Text(), nullable=True),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("things", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("rows", sa.Integer(), nullable=False),
        # json, not jsonb: it keeps the text as it was hashed
        sa.Column("changes", postgresql.JSON(), nullable=True),
        sa.Column("salt", sa.Text(), nullable=True),
        sa.Column("content_digest", sa.LargeBinary(), nullable=False),
        sa.Column("key_version", sa.Integer(), nullable=False),
        sa.Column("previous", sa.LargeBinary(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("seq"),
    )
    op.create_index("audit_of_thing", "audit_entry", ["things"], unique=False, postgresql_using="gin")
    op.create_index("audit_by_actor", "audit_entry", ["actor_id", "seq"], unique=False)
    op.create_index("audit_by_action", "audit_entry", ["action", "seq"], unique=False)
    op.create_index("audit_by_time", "audit_entry", ["at"], unique=False)
    op.create_table(
        "audit_pending",
        sa.Column("number", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("transaction", sa.BigInteger(), nullable=False),
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("thing", sa.Text(), nullable=False),
        sa.Column("before", postgresql.JSONB(), nullable=True),
        sa.Column("after", postgresql.JSONB(), nullable=True),
        sa.PrimaryKeyConstraint("number"),
        prefixes=["UNLOGGED"],
    )
    op.execute(SHOWN)
    op.execute(CAPTURE)
    op.execute(APPEND_ONLY)
    op.execute(
        """CREATE TRIGGER audit_append_only BEFORE UPDATE OR DELETE ON audit_entry
           FOR EACH ROW EXECUTE FUNCTION audit_append_only()"""
    )
    op.execute(
        """CREATE TRIGGER audit_not_truncated BEFORE TRUNCATE ON audit_entry
           FOR EACH STATEMENT EXECUTE FUNCTION audit_append_only()"""
    )


def downgrade() -> None:
    op.execute("DROP FUNCTION audit_capture() CASCADE")  # and with it the triggers of the watched tables
    op.drop_table("audit_pending")
    op.drop_table("audit_entry")
    op.execute("DROP FUNCTION audit_append_only()")
    op.execute("DROP FUNCTION audit_shown(jsonb, text[])")
