"""Which message an answer goes to, case by case; in doubt a person looks first, and nothing grows more public."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.pipeline.targets import Target, choose_target

START = datetime(2026, 3, 12, 10, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def at(minutes: float) -> datetime:
    """So many minutes into the conversation."""
    return START + minutes * MINUTE


def heard(
    id: str,
    visibility: str,
    said: float,
    *,
    told: float | None = -1,
    by: str = "rita",
    deleted: float | None = None,
    counted: bool = False,
    on: str = "ticket",
    joined: float | None = None,
) -> Mapping[str, Any]:
    """A message: when it was published, when the helpdesk had it (None: not yet; by default at once), who wrote it."""
    done = at(said + 0.1 if told == -1 else told) if told is not None else None
    return {
        "id": id,
        "visibility": visibility,
        "customer_id": by,
        "published_at": at(said),
        "seen_at": at(said),
        "done_at": done,
        "told": done is not None,
        "counted": counted,
        "ticket_id": on,
        "joined_at": None if joined is None else at(joined),
        "deleted_at": None if deleted is None else at(deleted),
        "revision": "1",
        "data": {},
        "external_id": id,
    }


def answer(written: float = 10, **changes: Any) -> Mapping[str, Any]:
    """An agent's comment at the helpdesk, written then."""
    return {
        "customers": ("rita",),
        "comment_id": "77",
        "leg": None,
        "interaction_id": None,
        "approved_digest": None,
        "written_at": at(written),
        "written_on": None,
        **changes,
    }


def over_rest(**changes: Any) -> Mapping[str, Any]:
    """An answer that somebody made over REST."""
    return answer(comment_id=None, **changes)


PUBLIC, PRIVATE = heard("public", "public", 1), heard("private", "private", 2)
LATE_PRIVATE, LATE_PUBLIC = heard("late", "private", 9, told=None), heard("late", "public", 9, told=None)

GOES = {
    "the only message": (answer(), [PUBLIC], "public", "public"),
    "the last one seen, private": (answer(), [PUBLIC, PRIVATE], "private", "private"),
    "the last one seen, public": (answer(), [heard("dm", "private", 1), heard("post", "public", 2)], "post", "public"),
    "private and seen last, by a clock that is behind": (
        answer(),
        [heard("mail", "private", 0.5, told=3), PUBLIC],
        "mail",
        "private",
    ),
    "the same over REST": (
        over_rest(),
        [{**heard("mail", "private", 0.5), "seen_at": at(3)}, PUBLIC],
        "mail",
        "private",
    ),
    "private, though a public one that was said before was told after it": (
        answer(),
        [PUBLIC, heard("missed", "public", 1.5, told=8), PRIVATE],
        "private",
        "private",
    ),
    "what came after it was written does not count": (
        answer(),
        [PUBLIC, heard("more", "public", 12)],
        "public",
        "public",
    ),
    "what was published before and told after does not count": (
        answer(),
        [PUBLIC, heard("more", "public", 5, told=11)],
        "public",
        "public",
    ),
    "the customer's, though a bystander spoke last": (
        answer(),
        [PUBLIC, heard("bob", "public", 3, by="bob")],
        "public",
        "public",
    ),
    "a bystander's where the customer said nothing yet": (
        answer(),
        [heard("bob", "public", 3, by="bob")],
        "bob",
        "public",
    ),
    "what was said on the ticket where it was written, merged since": (
        answer(customers=("rita", "bob"), written_on="one"),
        [heard("mine", "public", 1, on="one"), heard("theirs", "private", 2, by="bob", on="other")],
        "mine",
        "public",
    ),
    "on its own ticket, whatever is new on the other one": (
        answer(customers=("rita", "bob"), written_on="one"),
        [heard("mine", "public", 1, on="one"), heard("theirs", "private", 9, by="bob", on="other", told=None)],
        "mine",
        "public",
    ),
    "what a merge brought before it was written": (
        answer(customers=("rita", "bob")),
        [PUBLIC, heard("theirs", "private", 2, by="bob", on="other", joined=5)],
        "theirs",
        "private",
    ),
    "what a merge brought is older anyway": (
        answer(customers=("rita", "bob")),
        [heard("theirs", "private", 0.5, by="bob", on="other", joined=11), PUBLIC],
        "public",
        "public",
    ),
    "nothing seen, one audience": (
        answer(0.5),
        [heard("a", "public", 1, told=2), heard("b", "public", 2, told=None)],
        "a",
        "public",
    ),
    "a newer one of the same audience": (answer(), [PUBLIC, heard("n", "public", 9.9, told=None)], "public", "public"),
    "deleted before it was written": (
        answer(),
        [PUBLIC, heard("gone", "private", 2, deleted=5)],
        "public",
        "public",
    ),
    "explicit public": (answer(leg="public"), [PUBLIC, PRIVATE], "public", "public"),
    "explicit private": (answer(leg="private"), [PRIVATE, heard("post", "public", 3)], "private", "private"),
    "explicit private where all is public": (answer(leg="private"), [PUBLIC], "public", "private"),
    "explicit public where all is private": (answer(leg="public"), [PRIVATE], "private", "public"),
    "explicit, for what came in meanwhile: private": (
        answer(leg="private"),
        [PUBLIC, LATE_PRIVATE],
        "late",
        "private",
    ),
    "explicit, for what came in meanwhile: public": (answer(leg="public"), [PRIVATE, LATE_PUBLIC], "late", "public"),
    "explicit, though a bystander has a message there": (
        answer(leg="private"),
        [PUBLIC, heard("bob", "private", 3, told=None, by="bob")],
        "public",
        "private",
    ),
    "explicit, with nothing seen": (answer(0.5, leg="public"), [PUBLIC, LATE_PRIVATE], "public", "public"),
    "what is counted under an incident's ticket is no news": (
        answer(),
        [PUBLIC, heard("bob", "public", 9, told=None, by="bob", counted=True)],
        "public",
        "public",
    ),
    "over REST, not what is counted": (
        over_rest(),
        [PUBLIC, heard("bob", "public", 9, told=None, by="bob", counted=True)],
        "public",
        "public",
    ),
    "over REST, what is counted and named": (
        over_rest(interaction_id="bob"),
        [PUBLIC, heard("bob", "public", 9, told=None, by="bob", counted=True)],
        "bob",
        "public",
    ),
    "over REST, the newest": (over_rest(), [PUBLIC, LATE_PRIVATE], "late", "private"),
    "over REST, the customer's": (over_rest(), [PUBLIC, heard("b", "public", 3, by="bob")], "public", "public"),
    "over REST, explicit": (over_rest(leg="public"), [PUBLIC, LATE_PRIVATE], "public", "public"),
    "over REST, named": (over_rest(interaction_id="public"), [PUBLIC, PRIVATE], "public", "public"),
    "over REST, named and a leg": (
        over_rest(interaction_id="public", leg="private"),
        [PUBLIC, PRIVATE],
        "public",
        "private",
    ),
    "over REST, named and not here any more": (
        over_rest(interaction_id="elsewhere"),
        [PUBLIC, PRIVATE],
        "private",
        "private",
    ),
    "the last one seen of two customers whose tickets were merged": (
        answer(customers=("rita", "bob")),
        [PUBLIC, heard("bob", "public", 3, by="bob")],
        "bob",
        "public",
    ),
    "approved by a person, on an explicit leg, whatever came in since": (
        answer(interaction_id="public", approved_digest="d", leg="public"),
        [PUBLIC, heard("more", "public", 3)],
        "public",
        "public",
    ),
    "decided on again, with a bystander it had seen": (
        answer(interaction_id="public"),
        [PUBLIC, heard("bob", "public", 3, by="bob")],
        "public",
        "public",
    ),
    "decided on again, answers what it answered": (
        answer(interaction_id="public"),
        [PUBLIC, heard("more", "public", 3)],
        "public",
        "public",
    ),
}


@pytest.mark.parametrize(("reply", "messages", "id", "visibility"), GOES.values(), ids=GOES)
def test_it_goes_to(reply: Mapping[str, Any], messages: list[Mapping[str, Any]], id: str, visibility: str) -> None:
    target = choose_target(reply, messages)
    assert target.hold is None, target
    assert target.interaction is not None
    assert (target.interaction["id"], target.visibility) == (id, visibility)


HOLDS = {
    "a merge that became known later brought somebody else's newer message": (
        answer(customers=("rita", "bob")),
        [PUBLIC, heard("theirs", "private", 2, by="bob", on="other", joined=11)],
        "newer_message",
    ),
    "its ticket was merged, and its customer wrote in private since": (
        answer(customers=("rita", "bob"), written_on="one"),
        [heard("mine", "public", 1, on="one"), heard("dm", "private", 9, on="other", told=None)],
        "newer_message",
    ),
    "its ticket was merged, and all that was said on it is deleted": (
        answer(customers=("rita", "bob"), written_on="one"),
        [heard("mine", "public", 1, on="one", deleted=9), heard("theirs", "private", 2, by="bob", on="other")],
        "target_deleted",
    ),
    "nobody said anything": (answer(), [], "no_target"),
    "all is deleted": (answer(), [heard("a", "public", 1, deleted=2)], "target_deleted"),
    "named and deleted": (
        over_rest(interaction_id="a"),
        [heard("a", "public", 1, deleted=2), PRIVATE],
        "target_deleted",
    ),
    "approved and deleted since": (
        answer(interaction_id="a", approved_digest="d"),
        [heard("a", "public", 1, deleted=20), PRIVATE],
        "target_deleted",
    ),
    "what it answers was deleted after it was written": (
        answer(),
        [PUBLIC, heard("dm", "private", 2, deleted=11)],
        "target_deleted",
    ),
    "what it answers on the chosen leg was deleted after it was written": (
        answer(leg="private"),
        [PUBLIC, heard("dm", "private", 2, deleted=11)],
        "target_deleted",
    ),
    "decided on before and deleted since": (
        answer(interaction_id="private"),
        [PUBLIC, heard("private", "private", 2, deleted=11)],
        "target_deleted",
    ),
    "a newer private message": (answer(), [PUBLIC, LATE_PRIVATE], "newer_message"),
    "a newer public message": (answer(), [PRIVATE, LATE_PUBLIC], "newer_message"),
    "a newer message by somebody else": (
        answer(),
        [PUBLIC, heard("bob", "public", 9, told=None, by="bob")],
        "newer_message",
    ),
    "a newer message, told after it was written": (
        answer(),
        [PUBLIC, heard("dm", "private", 9, told=11)],
        "newer_message",
    ),
    "decided on before, a private message since": (
        answer(interaction_id="public"),
        [PUBLIC, heard("dm", "private", 12)],
        "newer_message",
    ),
    "decided on before what turns out to have been seen": (
        answer(interaction_id="public"),
        [PUBLIC, heard("dm", "private", 9)],
        "newer_message",
    ),
    "over REST, and something public came in since": (
        over_rest(),
        [PRIVATE, heard("post", "public", 11)],
        "newer_message",
    ),
    "nothing seen, and two audiences": (answer(0.5), [PUBLIC, PRIVATE], "newer_message"),
    "approved by a person, and a private message since": (
        answer(interaction_id="public", approved_digest="d"),
        [PUBLIC, LATE_PRIVATE],
        "newer_message",
    ),
    "a newer message by the other one of two customers whose tickets were merged": (
        answer(customers=("rita", "bob")),
        [PUBLIC, heard("bob", "public", 9, told=None, by="bob")],
        "newer_message",
    ),
    "told within the second in which it was written": (
        answer(),
        [PUBLIC, heard("dm", "private", 9, told=10)],
        "newer_message",
    ),
}


@pytest.mark.parametrize(("reply", "messages", "code"), HOLDS.values(), ids=HOLDS)
def test_a_person_looks_first(reply: Mapping[str, Any], messages: list[Mapping[str, Any]], code: str) -> None:
    target = choose_target(reply, messages)
    assert target.code == code
    assert target.hold
    assert bool(target.between) == (code == "newer_message")


MESSAGES = st.lists(
    st.builds(
        heard,
        st.uuids().map(str),
        st.sampled_from(["public", "private"]),
        st.floats(0, 20),
        told=st.none() | st.floats(0, 20),
        by=st.sampled_from(["rita", "bob"]),
        deleted=st.none() | st.floats(0, 20),
    ),
    max_size=6,
).map(lambda found: sorted(found, key=lambda one: one["published_at"]))


def decide(written: float, messages: list[Mapping[str, Any]], again: bool = False) -> Target:
    """Choose without any explicit choice; `again` after the first choice was written down."""
    target = choose_target(answer(written), messages)
    if again and target.interaction is not None:
        target = choose_target(answer(written, interaction_id=target.interaction["id"]), messages)
    return target


@given(st.floats(0, 20), MESSAGES, st.booleans())
def test_without_an_explicit_choice_no_answer_is_more_public_than_what_the_agent_saw_last(
    written: float, messages: list[Mapping[str, Any]], again: bool
) -> None:
    target = decide(written, messages, again)
    if target.hold is not None:
        return
    assert target.interaction is not None
    assert target.interaction["deleted_at"] is None
    assert target.visibility == target.interaction["visibility"]
    known = [one for one in messages if one["told"] and one["done_at"] <= at(written)]
    read = [one for one in known if one["deleted_at"] is None or one["deleted_at"] > at(written)]
    mine = [one for one in read if one["customer_id"] == "rita"] or read
    if mine:
        said, seen = mine[-1], max(reversed(mine), key=lambda one: one["done_at"])
        last = seen if (said["visibility"], seen["visibility"]) == ("public", "private") else said
        assert (last["visibility"], last["customer_id"]) == (target.visibility, target.interaction["customer_id"])


@given(st.floats(0, 20), MESSAGES)
def test_deciding_again_on_the_same_says_the_same(written: float, messages: list[Mapping[str, Any]]) -> None:
    first, again = decide(written, messages), decide(written, messages, again=True)
    assert (first.interaction, first.visibility, first.code) == (again.interaction, again.visibility, again.code)


@given(st.floats(0, 20), MESSAGES, st.sampled_from(["public", "private"]))
def test_an_explicit_choice_is_never_overruled(written: float, messages: list[Mapping[str, Any]], leg: str) -> None:
    target = choose_target(answer(written, leg=leg), messages)
    assert target.code in (None, "target_deleted", "no_target")
    assert target.hold is not None or target.visibility == leg
