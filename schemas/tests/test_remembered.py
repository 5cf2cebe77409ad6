"""What providers called our customers is remembered, as far as it fits, beside whatever else a plugin keeps."""

from __future__ import annotations

import json

from gateway_schemas.plugin import MemoryState
from gateway_schemas.remembered import STATE_BYTES, RememberedIds


async def test_it_outlives_a_restart_and_leaves_the_rest_of_the_document_alone() -> None:
    state = MemoryState()
    ids = RememberedIds(state, "users")
    await ids.load()
    ids["x:1"] = 7
    await state.merge({"token": "renewed by another process meanwhile"})
    await ids.save()
    again = RememberedIds(state, "users")
    await again.load()
    assert again == {"x:1": 7}
    assert state.document["token"] == "renewed by another process meanwhile"


async def test_the_newest_stay_when_there_are_too_many_or_they_are_too_long() -> None:
    state = MemoryState()
    ids = RememberedIds(state, "users", most=3)
    ids.update({str(number): number for number in range(5)})
    await ids.save()
    assert list(ids) == ["2", "3", "4"]
    long = RememberedIds(state, "long")
    long.update({f"{number:0>1000}": number for number in range(100)})
    await long.save()
    kept = list(state.document["long"].values())
    assert kept == list(range(100 - len(kept), 100))
    assert 40 < len(kept) < 100
    assert len(json.dumps(state.document["long"])) <= STATE_BYTES


async def test_what_is_no_number_is_not_remembered() -> None:
    state = MemoryState()
    await state.save({"users": {"a": 1, "b": "2", "c": None}, "contacts": ["odd"]})
    users, contacts = RememberedIds(state, "users"), RememberedIds(state, "contacts")
    await users.load()
    await contacts.load()
    assert (users, contacts) == ({"a": 1}, {})
