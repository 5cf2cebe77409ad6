"""Every column that could hold words is in the list of personal data, or is said there to hold none."""

from __future__ import annotations

import pytest
from sqlalchemy import ARRAY, JSON, LargeBinary, Text
from sqlmodel import SQLModel

import gateway.db.tables  # noqa: F401  fills the metadata
from gateway.privacy.registry import REGISTRY
from support.repository import ROOT


def wordy(table: str) -> set[str]:
    """Columns of a table that could hold a person's words."""
    columns = SQLModel.metadata.tables[table].columns
    return {one.name for one in columns if isinstance(one.type, Text | JSON | LargeBinary | ARRAY)}


def missing(table: str) -> set[str]:
    """Columns that nobody has said anything about."""
    entry = REGISTRY.get(table)
    if entry is None:
        return wordy(table) | {"(the table)"}
    erased = {column.strip('"') for holding in entry.holdings for column in holding.erase}
    if any(holding.removes for holding in entry.holdings):
        return set()
    return wordy(table) - erased - set(entry.clean)


@pytest.mark.parametrize("table", sorted(SQLModel.metadata.tables))
def test_each_column_is_spoken_for(table: str) -> None:
    assert missing(table) == set()


def test_the_list_names_no_column_that_is_not_there() -> None:
    for table, entry in REGISTRY.items():
        there = set(SQLModel.metadata.tables[table].columns.keys())
        named = {column.strip('"') for holding in entry.holdings for column in holding.erase} | set(entry.clean)
        assert named <= there, table


def test_the_documentation_lists_each_holding() -> None:
    page = (ROOT / "docs" / "privacy.md").read_text()
    for table, entry in REGISTRY.items():
        for holding in entry.holdings:
            assert f"| `{table}` | {holding.what} |" in page
        if entry.special:
            assert f"`{table}`" in page
