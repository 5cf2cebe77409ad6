"""The oracles see what is lost, doubled or in the wrong place: a demo that could not fail would show nothing."""

from __future__ import annotations

import dataclasses
import datetime
import functools
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway.demo.conductor import Conductor
from gateway.demo.evening import Evening
from gateway.demo.observer import Observer
from gateway.demo.playing import BEFORE, Playing, named_at_helpdesk, named_on_network
from gateway.demo.reckoning import reckon
from gateway.demo.recordings import load
from gateway.demo.rest import Rest
from gateway.demo.script import load_script
from gateway.demo.stage import Stage, set_stage
from gateway.demo.standing import stand
from gateway.demo.twins import forum_twin, helpdesk_twin, social_twin
from gateway.demo.verdict import Verdict, judge
from gateway.demo.witness import Witness, words
from gateway_schemas.time import SharedTime

SECRET = "whsec_S2VzdHJlbFBhcmNlbHNEZW1vU2VjcmV0S2V5MDEyMzQ="
POST = {"at": "18:00", "x": "rita", "as": "a1", "posts": "@Acme hello"}
ANSWER = {"at": "18:01", "agent": "Ann", "answers": "a1", "text": "Hello Rita"}


@pytest.fixture
def evening(tmp_path: Path) -> Evening:
    """An evening of one post and one answer, before anything has happened."""
    clock = SharedTime.create(tmp_path / "time", at=datetime.datetime(2026, 3, 6, 18, tzinfo=datetime.UTC))
    document = {"company": "Acme", "handle": "Acme", "forum": "Forum", "date": datetime.date(2026, 3, 6)}
    script = load_script({**document, "conversation": [{"title": "One", "lines": [POST, ANSWER]}]})
    twins = (social_twin(time=clock), helpdesk_twin(time=clock))
    forum = forum_twin(time=clock, signing_secret=SECRET, reply_secret=SECRET)
    observer = Observer(Rest(1, "none"), twins[1])
    played = Evening(script, clock, *twins, forum, Witness(), observer, lambda line, outcome: None)
    played.told.append("@Acme hello")
    played.kept.append("a private thought")
    played.unheard.append("said to nobody")
    return played


def comment(evening: Evening, text: str, ticket: int = 1, role: str = "end-user") -> None:
    about = {"ticket": ticket, "gateway_key": f"k{len(evening.helpdesk.ledger)}", "role": role, "text": text}
    evening.helpdesk.effect("comment_created", "c", public=True, author="x:1", **about)  # type: ignore[attr-defined]


def out(evening: Evening, text: str, to: str = "1") -> None:
    about = {"by": "api", "in_reply_to": to, "text": text}
    evening.network.effect("post", "9", author="2", handle="Acme", **about)  # type: ignore[attr-defined]


def found(evening: Evening) -> dict[str, Any]:
    evening.witness.look()
    return reckon(evening, [])


def test_a_post_that_did_not_arrive_is_lost(evening: Evening) -> None:
    assert found(evening)["lost"] == 1
    comment(evening, "@Acme hello\n\nhttps://x.com/rita/status/1")
    summary = found(evening)
    assert (summary["lost"], summary["duplicated"], summary["problems"]) == (0, 0, [])


def test_a_post_that_arrived_twice_is_duplicated(evening: Evening) -> None:
    comment(evening, "@Acme hello")
    comment(evening, "@Acme hello")
    assert found(evening)["duplicated"] == 1


def test_a_ticket_too_many_is_duplicated(evening: Evening) -> None:
    comment(evening, "@Acme hello")
    evening.tickets["a1"] = {"1"}
    for ticket in ("1", "2"):
        evening.helpdesk.effect("ticket_created", ticket, external_id=None)  # type: ignore[attr-defined]
    assert "ticket 2 belongs to nothing" in found(evening)["problems"]
    evening.tickets["a1"].add("2")
    assert any("has tickets 1, 2" in problem for problem in found(evening)["problems"])


def test_words_that_must_stay_in_are_seen_when_they_are_out(evening: Evening) -> None:
    comment(evening, "@Acme hello")
    out(evening, "a  private\nthought")
    problems = found(evening)["problems"]
    assert "out although it must not be: “a private thought”" in problems
    assert any("wrong place" in problem for problem in problems)


def test_what_nobody_was_told_must_not_be_in_the_helpdesk(evening: Evening) -> None:
    comment(evening, "@Acme hello")
    comment(evening, "said to nobody")
    assert found(evening)["problems"] == ["at the helpdesk, and nobody was told: “said to nobody”"]


def test_an_answer_that_came_back_must_not_look_published(evening: Evening) -> None:
    comment(evening, "@Acme hello")
    evening.counts["replies_held_or_refused"] = 1
    assert found(evening)["problems"] == ["0 comments made private, 1 did not go out"]


OF_ITSELF = [
    {"at": "18:45", "warned": "a1", "minutes": 45},
    {"at": "19:00", "breached": "a1", "minutes": 60},
    {"at": "19:10", "broken": "a1", "text": "we call you"},
    {"at": "19:20", "opened": "a1"},
    {"at": "19:21", "x": "bob", "as": "a2", "ticket": "a1", "heard": "counted", "posts": "@Acme hello hello"},
]


@pytest.mark.slow
async def test_what_the_gateway_did_not_do_of_itself_is_a_problem(evening: Evening, tmp_path: Path) -> None:
    document = {"company": "Acme", "handle": "Acme", "forum": "Forum", "date": datetime.date(2026, 3, 6)}
    evening.script = load_script({**document, "conversation": [{"title": "One", "lines": [POST, *OF_ITSELF]}]})
    clock = SharedTime.create(tmp_path / "clock", at=evening.script.begins)
    async with set_stage([], clock, tmp_path) as stage:
        summary, problems = await stand(evening, stage.rest)
    assert summary["sla"] == {"warnings": 0, "breaches": 0, "escalations": 0}
    for missing in ("warnings: 0, and 1", "breaches: 0, and 1", "promises broken: 0, and 1", "incidents: 0, and 1"):
        assert any(problem.startswith(missing) for problem in problems), problems
    assert "counted 0 times: “@Acme hello hello”" in problems


# the oracle of the replay, on what a real gateway has made of two conversations

SAID = [
    ("c1", "10:00", "@Acme my parcel is stuck"),
    ("Acme", "10:05", "we look after it"),
    ("c1", "10:30", "thank you"),
]
ELSEWHERE = [("c1", "11:00", "it never rains in the depot"), ("Acme", "11:05", "it did last week")]


def at(clock: str) -> datetime.datetime:
    return datetime.datetime.combine(datetime.date(2020, 4, 1), datetime.time.fromisoformat(clock), datetime.UTC)


def id_of(clock: str) -> str:
    """An id as the network gives them, which holds the time."""
    return str((int(at(clock).timestamp() * 1000) - 1_288_834_974_657) << 22)


def recorded(*conversations: list[tuple[str, str, str]]) -> str:
    documents = [
        {
            "id": said[0][1],
            "company": "Acme",
            "messages": [
                {
                    "id": id_of(clock),
                    "from": "agent" if author == "Acme" else "customer",
                    "author": author,
                    "at": at(clock).isoformat(),
                    "text": text,
                }
                for author, clock, text in said
            ],
        }
        for said in conversations
    ]
    return "".join(json.dumps(document) + "\n" for document in documents)


@pytest.fixture
async def played(tmp_path: Path) -> AsyncIterator[tuple[Playing, Stage]]:
    """Two conversations, played."""
    file = tmp_path / "recording.jsonl"
    file.write_text(recorded(SAID, ELSEWHERE), "utf-8")
    recording = load(file)
    first = min(message.at for message in recording.messages)
    clock = SharedTime.create(tmp_path / "time", at=first - BEFORE, speed=20.0)
    network, helpdesk = social_twin(time=clock, tier="enterprise"), helpdesk_twin(time=clock)
    helpdesk.limits.off()
    async with set_stage([network, helpdesk], clock, tmp_path) as stage:
        witness = Witness()
        witness.watch(helpdesk, named_at_helpdesk)
        witness.watch(network, named_on_network)
        playing = Playing(recording, network, helpdesk, witness)
        await playing.set_up(stage.rest)
        steps = list(playing.steps())
        async with witness.watching():
            await Conductor(clock, functools.partial(stage.may_jump, helpdesk)).play(steps)
        assert [step.failure for step in steps if step.failure] == []
        assert await stage.quiet.until_quiet(30.0)
        yield playing, stage


@pytest.mark.slow
async def test_the_oracle_of_the_replay_sees_each_kind_of_trouble(played: tuple[Playing, Stage]) -> None:
    playing, stage = played
    seen = playing.witness.seen

    async def verdict() -> Verdict:
        return await judge(playing, stage.rest)

    clean = await verdict()
    assert (clean.lost, clean.duplicated, clean.misplaced) == ([], [], [])
    assert (clean.tickets, clean.replies_published, clean.native_answers) == (2, 1, 1)

    first, answered, last = (id_of(clock) for _, clock, _ in SAID)
    told = seen["told", last]
    kept = told.pop()
    assert (await verdict()).lost == [f"message {last} in the helpdesk"]
    told += [kept, kept]
    assert (await verdict()).duplicated == [f"message {last} in the helpdesk, 2 times"]
    told[:] = [dataclasses.replace(kept, data={**kept.data, "ticket": 99})]
    assert any("has tickets" in one for one in (await verdict()).misplaced)
    told[:] = [kept]

    answer = ("sent", first, words(SAID[1][2]))
    seen[answer] *= 2
    assert len((await verdict()).duplicated) == 1
    seen[answer] = []
    assert len((await verdict()).lost) == 1
    seen[answer] = [effect for effect in playing.network.ledger if effect.data.get("by") == "api"]
    assert (await verdict()).clean

    # the gateway's timeline against another truth: an answer that it does not know of, and one that it should not know
    real, playing.published[answered] = playing.published[answered], id_of("10:06")
    other = await verdict()
    assert any(f"{id_of('10:06')} on the timeline" in one for one in other.lost)
    assert any(f"{real} on the timeline" in one for one in other.misplaced)
