"""Zero downtime: while an upgrade is under way, the code of before works on the new schema.

From the first upgrade that has to go by the rule on, every migration only adds: tables, columns that may be empty or
have a default, and indexes built concurrently. What nobody uses any more is dropped by the release after the next.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from types import ModuleType

import pytest
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.dialects import postgresql

from gateway.db.migrate import migrations_folder

RULE_BEGINS_AFTER = "0009"

BREAKS = {
    r"\bDROP\s+(TABLE|VIEW|TYPE)\b": "old code still reads it",
    r"\bDROP\s+COLUMN\b": "old code still names it",
    r"\bRENAME\b": "old code knows the old name",
    r"\bALTER\s+COLUMN\s+\S+\s+(SET\s+DATA\s+)?TYPE\b": "it may rewrite the table, and old code writes the old type",
    r"\bSET\s+NOT\s+NULL\b": "old code leaves it empty",
    r"\bADD\s+COLUMN\b(?=[^;]*\bNOT\s+NULL\b)(?![^;]*\bDEFAULT\b)": "old code's rows have no value for it",
    r"\bADD\s+CONSTRAINT\b(?![^;]*\bNOT\s+VALID\b)": "checking all rows locks the table; add it NOT VALID first",
}
CREATED = re.compile(r'\bCREATE\s+TABLE\s+(?:IF\s+NOT\s+EXISTS\s+)?"?(\w+)', re.IGNORECASE)
INDEXED = re.compile(
    r'\bCREATE\s+(UNIQUE\s+)?INDEX\s+(?!CONCURRENTLY)(?:IF\s+NOT\s+EXISTS\s+)?\S+\s+ON\s+(?:ONLY\s+)?"?(\w+)',
    re.IGNORECASE,
)
UNIQUE = re.compile(r"\bCREATE\s+UNIQUE\s+INDEX\b.*\bON\s+\"?(\w+)", re.IGNORECASE)


def broken_rules(sql: str) -> Iterator[str]:
    """What in these statements old code could not live with."""
    made = {name.lower() for name in CREATED.findall(sql)}
    for statement in sql.split(";"):
        about = re.search(
            r'\b(?:ALTER|DROP)\s+TABLE\s+(?:IF\s+EXISTS\s+)?(?:ONLY\s+)?"?(\w+)', statement, re.IGNORECASE
        )
        if about and about[1].lower() in made:
            continue
        for pattern, why in BREAKS.items():
            if re.search(pattern, statement, re.IGNORECASE):
                yield f"{' '.join(statement.split())}: {why}"
        index = INDEXED.search(statement)
        if index and index[2].lower() not in made:
            yield f"{' '.join(statement.split())}: it locks the table against writing; build it concurrently"
        unique = UNIQUE.search(statement)
        if unique and unique[1].lower() not in made:
            yield f"{' '.join(statement.split())}: old code may write twice what it wants once"


def statements(module: ModuleType) -> str:
    """The SQL of one migration's upgrade, without a database."""
    out = io.StringIO()
    context = MigrationContext.configure(
        dialect=postgresql.dialect(), opts={"as_sql": True, "output_buffer": out, "literal_binds": True}
    )
    with Operations.context(context):
        module.upgrade()
    return out.getvalue()


def ruled() -> list[tuple[str, ModuleType]]:
    """The migrations that the rule is for."""
    scripts = ScriptDirectory(str(migrations_folder()))
    return [(one.revision, one.module) for one in scripts.walk_revisions() if one.revision > RULE_BEGINS_AFTER]


@pytest.mark.parametrize(("revision", "module"), ruled())
def test_old_code_runs_on_the_new_schema(revision: str, module: ModuleType) -> None:
    found = list(broken_rules(statements(module)))
    assert not found, f"{revision}:\n" + "\n".join(found)


@pytest.mark.parametrize(
    ("sql", "bad"),
    [
        ("ALTER TABLE ticket DROP COLUMN subject", True),
        ("ALTER TABLE ticket RENAME COLUMN subject TO title", True),
        ("ALTER TABLE ticket RENAME TO matter", True),
        ("ALTER TABLE ticket ALTER COLUMN subject TYPE VARCHAR(9)", True),
        ("ALTER TABLE ticket ALTER COLUMN subject SET NOT NULL", True),
        ("ALTER TABLE ticket ADD COLUMN mood TEXT NOT NULL", True),
        ("ALTER TABLE ticket ADD COLUMN mood TEXT DEFAULT '' NOT NULL", False),
        ("ALTER TABLE ticket ADD COLUMN mood TEXT", False),
        ("DROP TABLE ticket", True),
        ("CREATE INDEX ticket_mood ON ticket (mood)", True),
        ("CREATE INDEX CONCURRENTLY ticket_mood ON ticket (mood)", False),
        ("CREATE UNIQUE INDEX CONCURRENTLY ticket_mood ON ticket (mood)", True),
        ("CREATE TABLE mood (id INT NOT NULL);\nCREATE INDEX mood_id ON mood (id)", False),
        ("CREATE TABLE mood (id INT NOT NULL);\nALTER TABLE mood ADD CONSTRAINT one CHECK (id > 0)", False),
        ("ALTER TABLE ticket ADD CONSTRAINT one CHECK (subject <> '')", True),
        ("ALTER TABLE ticket ADD CONSTRAINT one CHECK (subject <> '') NOT VALID", False),
        ("DROP INDEX ticket_mood", False),
    ],
)
def test_the_rule_knows_what_old_code_cannot_live_with(sql: str, bad: bool) -> None:
    assert bool(list(broken_rules(sql))) == bad
