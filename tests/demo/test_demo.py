"""`gateway demo` as one runs it, and the script that it plays."""

from __future__ import annotations

import dataclasses
import datetime
import io
from typing import Any

import pytest
from rich.console import Console

from gateway.demo.script import OF_ITSELF, Conversation, ScriptBroken, load_script
from gateway.demo.telling import Teller
from support.commands import gateway


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_the_evening_ends_with_everything_everywhere_once() -> None:
    ended = await gateway("demo", "--once")
    summary = ended.summary
    assert ended.code == 0, ended.told[-4000:]
    assert summary["problems"] == []
    assert (summary["lost"], summary["duplicated"]) == (0, 0)
    assert summary["conversations"] >= 40
    assert summary["replies_published"] >= 50
    assert (summary["edits"], summary["deletions"], summary["replies_held_or_refused"]) == (2, 2, 7)
    assert 60 < summary["first_response_seconds"]["median"] < summary["first_response_seconds"]["p90"] < 3600
    assert (summary["replies_blocked"], summary["replies_held"], summary["replies_failed"]) == (2, 3, 2)
    assert summary["kept_back_by"] == {"acknowledge-first": 1, "no-argument": 1, "no-coupon-for-retraction": 1}
    assert summary["replies_approved"] == 1
    assert summary["sla"] == {"warnings": 1, "breaches": 1, "escalations": 0}
    assert (summary["promises"]["kept"], summary["promises"]["broken"]) == (3, 1)
    assert summary["incidents"] == {"opened": 1, "messages": 6, "counted": 5}
    assert {summary["alarms"][code] for code in ("incident_opened", "promise_broken", "sla_breach")} == {1}
    for told in (
        "→ published on X",
        "The gateway warns: @nora_f has waited for 45 minutes",
        "! 60 of 60 minutes for the first response have passed",
        "↩ blocked, back to Bo. It offers something of value for a change of what the customer wrote.",
        "“delete your review”  “20 euro”  “voucher”",
        "↩ held, back to Chidi. It puts the fault on the customer.",
        "approved by Ann, written by Chidi",
        ": the ticket was solved in time",
        'the answer: "As promised"',
        "The gateway sees a promise broken to @nora_f: “we call you by 19:45”",
        "The gateway counts 5 messages on the ticket of @dora_m",
    ):
        assert told in ended.told, "the story is told beside the summary"


def script(*lines: dict[str, Any]) -> dict[str, Any]:
    conversation = {"title": "One", "lines": list(lines)}
    day = datetime.date(2026, 3, 6)
    return {"company": "Acme", "handle": "Acme", "forum": "Forum", "date": day, "conversation": [conversation]}


POST = {"at": "18:00", "x": "rita", "as": "a1", "posts": "@Acme hello"}


def test_the_evening_tells_every_kind_of_story() -> None:
    evening = load_script()
    deeds = {line.deed for line in evening.lines}
    assert deeds >= {"posts", "replies", "quotes", "reviews", "messages", "edits", "deletes", "answers", "rule"}
    assert deeds >= {"notes", "solves", "closes", "merges", "settles", "activates", "ends", *OF_ITSELF}
    assert {line.back for line in evening.lines} == {None, "blocked", "held", "failed"}
    assert {line.heard for line in evening.lines} == {"yes", "context", "never", "counted"}
    assert any(line.twice for line in evening.lines)
    assert len(evening.conversations) >= 40


def test_every_line_can_be_told() -> None:
    evening = load_script()
    for line in evening.lines:
        said = io.StringIO()
        lone = dataclasses.replace(evening, conversations=(Conversation("One", (line,)),))
        Teller(Console(file=said, width=400), lone).show(line, "it is so\nbecause")
        assert "it is so" in said.getvalue()
        assert "because" in said.getvalue()


def test_a_customer_goes_on_in_the_ticket_of_their_first_line() -> None:
    again = {"at": "18:01", "x": "rita", "as": "a2", "replies": "@Acme hello?", "to": "a1"}
    other = {"at": "18:02", "x": "bob", "as": "b1", "replies": "@Acme me too", "to": "a1"}
    message = {"at": "18:03", "x": "rita", "as": "a3", "ticket": "a1", "messages": "it is order 7"}
    fresh = {"at": "18:04", "x": "rita", "as": "a4", "ticket": "new", "posts": "@Acme something else"}
    matters = load_script(script(POST, again, other, message, fresh)).matters
    assert matters == {"a1": "a1", "a2": "a1", "b1": "b1", "a3": "a1", "a4": "a4"}


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ({"at": "18:01", "x": "rita", "as": "a1", "posts": "again"}, "needs a label of its own"),
        ({"at": "18:01", "x": "rita", "posts": "again"}, "needs a label of its own"),
        ({"at": "18:01", "agent": "Ann", "answers": "zz", "text": "hello"}, "speaks of zz"),
        ({"at": "18:01", "x": "rita", "as": "a2", "replies": "again", "to": "zz"}, "speaks of zz"),
        ({"at": "18:01", "x": "rita", "as": "a2", "ticket": "zz", "messages": "again"}, "speaks of zz"),
        ({"at": "17:59", "x": "rita", "as": "a2", "posts": "before"}, "comes after a later line"),
        ({"at": "18:01", "x": "rita", "dances": "a1"}, "who does what"),
        ({"at": "18:01", "posts": "by nobody", "as": "a2"}, "who does what"),
    ],
)
def test_a_line_that_makes_no_sense_is_named(line: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ScriptBroken, match=complaint):
        load_script(script(POST, line))
