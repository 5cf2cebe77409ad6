"""Pending pushes of a ticket travel in order, at most one comment a call, and the same rows give the same call."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.pipeline.changes import (
    COMMENTING,
    DIGEST_LENGTH,
    choose,
    fold,
    ticket_id_of,
    ticket_key,
)
from gateway_schemas.ticket import TicketChange

Row = dict[str, Any]
RITA = {"external_id": "x:1", "name": "Rita", "provider": "x", "handle": "rita"}
BOB = {"external_id": "x:2", "name": "Bob", "provider": "x", "handle": "bob"}
AT = "2026-03-12T10:15:00Z"
TICKET = UUID(int=7)


def ticket(external_id: str | None = "4711", **changes: Any) -> Row:
    """The ticket's row."""
    return {
        "id": TICKET,
        "external_id": external_id,
        "followup_external_id": None,
        "subject": "Where is my parcel?",
        "priority": "high",
        "tags": ["vip"],
        "requester": RITA,
        **changes,
    }


def row(id: int, kind: str = "comment", *, frozen: str | None = None, **payload: Any) -> Row:
    """A push."""
    if kind in COMMENTING:
        author = RITA if kind == "comment" else None
        payload = {"text": f"text {id}", "author": author, "public": kind == "comment", "at": AT, **payload}
    return {"id": id, "key": f"k{id}", "kind": kind, "payload": payload, "change_key": frozen, "tries": 0, "lane": 1}


def ids(rows: Sequence[Mapping[str, Any]]) -> list[int]:
    """Whose turn it is."""
    return [one["id"] for one in rows]


def pick(rows: Sequence[Row], *, exists: bool = True, per_change: int = 1, digest_above: int = 3) -> list[int]:
    """What goes into the next change."""
    return ids(choose(rows, exists=exists, per_change=per_change, digest_above=digest_above))


PAYLOADS = st.fixed_dictionaries(
    {},
    optional={
        "status": st.sampled_from(["open", "solved"]),
        "priority": st.sampled_from(["low", "urgent"]),
        "add_tags": st.lists(st.sampled_from(["a", "b", "gw_held", "vip"]), max_size=2),
        "remove_tags": st.lists(st.sampled_from(["a", "b", "gw_held", "vip"]), max_size=2),
        "fields": st.fixed_dictionaries({"state": st.sampled_from(["held", "published"])}),
        "custom": st.dictionaries(st.sampled_from(["source", "rating"]), st.integers() | st.none()),
    },
)


@st.composite
def pending(draw: st.DrawFn) -> list[Row]:
    """Pushes of one ticket in the order in which they came."""
    kinds = draw(st.lists(st.sampled_from(["comment", "comment", "comment", "note", "mark", "update"]), max_size=14))
    rows = []
    for number, kind in enumerate(kinds):
        more = draw(PAYLOADS)
        if kind == "comment":
            more["author"] = draw(st.sampled_from([RITA, RITA, BOB]))
            more["public"] = draw(st.sampled_from([True, True, True, False]))
        if kind == "mark":
            more["make_private"] = [f"c{number}"]
        rows.append(row(number, kind, **more))
    return rows


@given(
    pending(),
    st.lists(st.integers(1, 5), min_size=14, max_size=14),
    st.booleans(),
    st.integers(1, 3),
    st.integers(1, 4),
)
def test_in_whatever_portions_they_come_all_go_out_once_in_order_one_comment_a_call(
    rows: list[Row], portions: list[int], exists: bool, per_change: int, digest_above: int
) -> None:
    waiting: list[Row] = []
    coming = list(rows)
    sent: list[Row] = []
    changes: list[TicketChange] = []
    for portion in [*portions, *[0] * len(rows)]:
        waiting += coming[:portion]
        coming = coming[portion:]
        if not waiting:
            continue
        chosen = choose(waiting, exists=exists, per_change=per_change, digest_above=digest_above)
        assert ids(chosen) == ids(waiting[: len(chosen)]), "nothing is passed over"
        assert chosen
        change = fold(ticket("4711" if exists else None), chosen, "key")
        assert len(change.comments) <= 1
        talking = [one for one in chosen if one["kind"] in COMMENTING]
        if len(talking) > 1:
            assert exists
            assert {one["kind"] for one in talking} == {"comment"}, "what agents alone may read travels alone"
        for comment in change.comments:
            at_least_one_private = any(not one["payload"]["public"] for one in talking)
            assert not (comment.public and at_least_one_private)
        positions = [change.comments[0].text.index(one["payload"]["text"]) for one in talking]
        assert positions == sorted(positions)
        sent += chosen
        changes.append(change)
        waiting = waiting[len(chosen) :]
        exists = True
    assert ids(sent) == ids(rows)
    make_private = [id for change in changes for id in change.make_private]
    assert make_private == [id for one in rows for id in one["payload"].get("make_private", ())]


@given(pending().filter(bool), st.booleans(), st.sampled_from(["key", "other"]))
def test_the_same_rows_and_key_give_the_same_change(rows: list[Row], exists: bool, key: str) -> None:
    """After a crash the helpdesk is asked whether it has exactly this."""
    where = ticket("4711" if exists else None)
    first = fold(where, rows, key)
    stored = json.loads(json.dumps(rows, sort_keys=True))  # as it comes back from the database: keys in any order
    again = fold(copy.deepcopy(where), stored, key)
    assert again == first
    assert again.key == key
    assert again.ticket_key == ticket_key(TICKET)


@given(pending().filter(bool))
def test_the_last_word_on_a_tag_counts(rows: list[Row]) -> None:
    change = fold(ticket(), rows, "key")
    tags: set[str] = {"before"}
    wanted = {"before"}
    for one in rows:
        wanted |= set(one["payload"].get("add_tags", ()))
        wanted -= set(one["payload"].get("remove_tags", ()))
    assert (tags | set(change.add_tags)) - set(change.remove_tags) == wanted
    assert not set(change.add_tags) & set(change.remove_tags)
    statuses = [one["payload"]["status"] for one in rows if "status" in one["payload"]]
    assert change.status == (statuses[-1] if statuses else None)


def test_one_comment_a_change_and_what_stands_between_goes_with_it() -> None:
    rows = [row(1, "update", priority="urgent"), row(2), row(3, "update", status="open"), row(4), row(5, "update")]
    assert pick(rows) == [1, 2, 3]
    change = fold(ticket(), rows[:3], "key")
    assert [comment.text for comment in change.comments] == ["text 2"]
    assert (change.priority, change.status) == ("urgent", "open")


@pytest.mark.parametrize("kind", ["comment", "note", "mark", "update"])
@pytest.mark.parametrize("exists", [True, False])
def test_one_row_alone_goes_out(kind: str, exists: bool) -> None:
    assert pick([row(1, kind)], exists=exists) == [1]


def test_a_few_messages_go_one_by_one_and_many_in_one_digest() -> None:
    three, four = [row(number) for number in range(3)], [row(number) for number in range(4)]
    assert pick(three) == [0]
    assert pick(four) == [0, 1, 2, 3]
    change = fold(ticket(), four, "key")
    [digest] = change.comments
    assert (digest.key, digest.public, digest.author and digest.author.handle) == ("key", True, "rita")
    assert digest.text.startswith("4 messages, oldest first:")
    assert all(f"@rita, {AT}" in part for part in digest.text.split("\n\n")[1:])


def test_a_digest_of_several_authors_or_with_something_private_is_private() -> None:
    rows = [row(1), row(2, author=BOB), row(3), row(4)]
    [digest] = fold(ticket(), rows, "key").comments
    assert (digest.public, digest.author) == (False, None)
    [digest] = fold(ticket(), [row(1), row(2, public=False), row(3), row(4)], "key").comments
    assert not digest.public


def test_a_new_ticket_begins_with_its_first_message_and_the_rest_follow_as_a_digest() -> None:
    rows = [row(number) for number in range(6)]
    assert pick(rows, exists=False) == [0]
    assert pick(rows[1:]) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("kind", ["note", "mark"])
@pytest.mark.parametrize("per_change", [1, 2, 5])
def test_what_only_agents_may_read_is_in_no_digest(kind: str, per_change: int) -> None:
    many = [row(number) for number in range(5)]
    private = row(9, kind, text="the reason why it was held")
    assert pick([*many, private], per_change=per_change) == [0, 1, 2, 3, 4]
    assert pick([private, *many], per_change=per_change) == [9]
    assert pick([*many[:2], private, *many[2:]], per_change=per_change) == [0, 1]
    assert pick([private, row(10, kind)], per_change=per_change) == [9]


def test_a_digest_has_an_end_and_nothing_of_it_is_cut() -> None:
    long = "x" * (DIGEST_LENGTH // 4)
    rows = [row(number, text=f"{number} {long}") for number in range(10)]
    assert pick(rows) == [0, 1, 2]
    monster = [row(0, text="y" * (DIGEST_LENGTH * 2)), *rows]
    assert pick(monster) == [0], "one that is too long by itself is the helpdesk's to refuse, by its own limit"


def test_what_went_out_together_and_may_be_there_stays_together() -> None:
    rows = [row(1, frozen="k"), row(2, frozen="k"), row(3), row(4), row(5), row(6)]
    assert pick(rows) == [1, 2]
    rows = [row(1, frozen="a"), row(2, "update", frozen="a"), row(3, frozen="b")]
    assert pick(rows) == [1, 2]
    assert pick(rows[2:]) == [3]


@given(pending().filter(bool), st.data())
def test_a_frozen_group_comes_first_whole_and_alone(rows: list[Row], data: st.DataObject) -> None:
    size = data.draw(st.integers(1, len(rows)))
    for one in rows[:size]:
        one["change_key"] = "frozen"
    assert pick(rows, digest_above=1) == ids(rows[:size])


def test_a_new_ticket_carries_what_only_a_new_one_has() -> None:
    rows = [
        row(1, custom={"source": "x", "rating": None}, add_tags=["late"]),
        row(2, "update", remove_tags=["vip"], status="open", custom={"language": "de"}),
    ]
    created = fold(ticket(None, followup_external_id="4000"), rows, "key")
    assert created.external_id is None
    assert (created.subject, created.followup_of) == ("Where is my parcel?", "4000")
    assert created.priority == "high"
    assert created.status is None
    assert created.custom == {"source": "x", "language": "de"}
    assert created.add_tags == ("late",), "the ticket's own tags too, but what was taken off since"
    assert fold(ticket(None), [row(1)], "key").add_tags == ("vip",)
    assert fold(ticket(None), [row(1, add_tags=["late"])], "key").add_tags == ("vip", "late")

    changed = fold(ticket(followup_external_id="4000"), rows, "key")
    assert (changed.external_id, changed.subject, changed.followup_of) == ("4711", None, None)
    assert (changed.priority, changed.status) == (None, "open")
    assert changed.custom == {"language": "de"}, "what an update writes, and not what a message says of itself"
    assert (changed.add_tags, changed.remove_tags) == (("late",), ("vip",))


def test_a_held_answer_is_made_private_with_its_note_its_tag_and_its_state() -> None:
    mark = row(
        1,
        "mark",
        add_tags=["gw_held"],
        remove_tags=["gw_blocked", "gw_failed"],
        status="open",
        make_private=["c77"],
        fields={"state": "held"},
    )
    change = fold(ticket(), [mark], "key")
    [note] = change.comments
    assert (note.public, note.author, note.key) == (False, None, "k1")
    assert change.make_private == ("c77",)
    assert change.fields is not None
    assert (change.fields.state, change.status, change.add_tags) == ("held", "open", ("gw_held",))
    assert set(change.remove_tags) == {"gw_blocked", "gw_failed"}


def test_fields_of_several_updates_become_one() -> None:
    rows = [
        row(1, "update", fields={"state": "published", "last_url": "https://x.com/1"}),
        row(2, "update", fields={"next_due": AT}),
        row(3, "update", fields={"last_url": "https://x.com/2"}),
    ]
    assert pick(rows) == [1, 2, 3]
    fields = fold(ticket(), rows, "key").fields
    assert fields is not None
    assert (fields.state, fields.last_url) == ("published", "https://x.com/2")
    assert fields.next_due is not None
    assert fold(ticket(), [row(1)], "key").fields is None


def test_a_comment_keeps_link_files_and_key() -> None:
    files = [{"url": "https://pbs.example/1.jpg", "media_type": "image/jpeg"}]
    [comment] = fold(ticket(), [row(1, url="https://x.com/1", attachments=files)], "key").comments
    assert (comment.key, comment.url, comment.attachments[0].media_type) == ("k1", "https://x.com/1", "image/jpeg")


@given(st.uuids())
def test_our_own_external_ids_are_known_again(id: UUID) -> None:
    assert ticket_id_of(ticket_key(id)) == id


@pytest.mark.parametrize("key", [None, "", "gateway", "gateway:", "gateway:x", f"other:{TICKET}", str(TICKET)])
def test_foreign_external_ids_are_nobodys(key: str | None) -> None:
    assert ticket_id_of(key) is None


def test_a_reply_that_its_source_looks_at_first_is_a_state_of_the_ticket() -> None:
    change = fold(ticket(), [row(1, "update", fields={"state": "under_review", "last_url": None})], "k")
    assert change.fields is not None
    assert change.fields.state == "under_review"
