"""`gateway demo --all-twins` as one runs it, and what it judges by."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from gateway.demo.pairs import SAID, Findings, Pair, judge, make_pairs
from gateway.demo.twins import Twin
from gateway.registry import Registry
from gateway_schemas.testing.rehearsal import Channel, Desk, Message, Rehearsal
from support.commands import gateway


@pytest.mark.torture
@pytest.mark.timeout(300)
async def test_every_source_reaches_a_ticket_and_every_answer_its_channel() -> None:
    ended = await gateway("demo", "--all-twins", "--once")
    summary = ended.summary
    assert ended.code == 0, ended.told[-4000:]
    assert summary["problems"] == []
    pairs = summary["pairs"]
    registry = Registry.load()
    assert {pair["source"] for pair in pairs} == set(registry.sources)
    desks = Counter(pair["helpdesk"] for pair in pairs)
    assert set(desks) == set(registry.helpdesks)
    assert min(desks.values()) >= 2
    assert len([pair for pair in pairs if pair["source"] == "meta"]) == 2, "a Page and an Instagram account"
    assert {pair["source"] for pair in pairs if pair["outcome"] == "refused"} == {"feed"}
    assert {pair["outcome"] for pair in pairs} == {"published", "refused"}
    assert summary["conversations"] == summary["tickets"] == len(pairs)
    assert (summary["replies_published"], summary["replies_failed"]) == (len(pairs) - 1, 1)
    assert (summary["lost"], summary["duplicated"]) == (0, 0)
    assert all(pair["to_ticket_seconds"] > 0 and pair["to_channel_seconds"] > 0 for pair in pairs)
    for told in (
        "feed (comments on the blog) → ",
        "1 refused because its channel takes none",
        "every answer its channel, once",
    ):
        assert told in ended.told


@dataclass
class Played:
    """Two channels and a helpdesk after a run in which all went well; tests put in what went wrong."""

    out: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    messages: list[Message] = field(default_factory=list)
    replies: list[dict[str, Any]] = field(default_factory=list)
    ledger: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        channels = {name: Channel(name, {}, str, lambda name=name: self.out[name]) for name in ("blog", "pages")}  # type: ignore[misc]
        desk = Desk({}, lambda: self.messages, lambda ticket, text: None)
        rehearsals = {name: Rehearsal([channel]) for name, channel in channels.items()} | {"desk": Rehearsal(desk=desk)}
        self.blog, self.pages = self.pairs = make_pairs(rehearsals)
        self.blog.answerable = False
        for number, pair in enumerate(self.pairs, 1):
            pair.id, pair.ticket = f"c{number}", str(number)
            self.out[pair.source] = [(pair.id, pair.answer)] if pair.answerable else []
            self.say(pair, f"rita wrote:\n\n{pair.complaint}")
            self.say(pair, pair.answer, public=pair.answerable)
            state, reason = ("sent", None) if pair.answerable else ("failed", "Blogs are not answered.")
            self.replies.append({"text": pair.answer, "state": state, "reason": reason})
        self.say(self.blog, "This answer could not be published.\nReason: Blogs are not answered.", public=False)

    def say(self, pair: Pair, text: str, *, public: bool = True, ticket: str | None = None) -> None:
        self.messages.append(Message(ticket or pair.ticket or "", text, public))

    def judged(self) -> Findings:
        return judge(self.pairs, self.replies, {"desk": cast("Twin", self)})


def kinds(found: Findings) -> tuple[int, int, int]:
    return len(found.lost), len(found.twice), len(found.astray)


@dataclass(frozen=True)
class Mail:
    kind: str = "mail_sent"


def test_what_is_as_it_should_be_has_no_problems() -> None:
    assert kinds(Played().judged()) == (0, 0, 0)


def test_what_is_missing_is_lost() -> None:
    played = Played()
    played.out["pages"].clear()
    assert kinds(played.judged()) == (1, 0, 0)
    played.replies.pop()
    assert kinds(played.judged()) == (2, 0, 0)
    played.messages[:] = [one for one in played.messages if "The blue lamp" not in one.text]
    assert kinds(played.judged()) == (3, 0, 0)


def test_an_agent_who_is_not_told_why_is_a_loss() -> None:
    played = Played()
    played.messages.pop()
    assert kinds(played.judged()) == (1, 0, 0)


def test_what_is_there_twice_is_named() -> None:
    played = Played()
    played.out["pages"] *= 2
    assert played.judged().twice == ["pages (pages) → desk: the answer at the source, 2 times"]
    played.say(played.blog, played.blog.complaint, ticket="9")
    assert played.judged().twice[-1] == "desk: ticket 9 belongs to nothing"
    assert kinds(played.judged()) == (0, 3, 0)


def test_what_is_in_the_wrong_place_is_astray() -> None:
    played = Played()
    played.out["pages"] = [("another", played.pages.answer), ("c2", "nobody wrote this")]
    played.out["blog"] = [("c1", played.blog.answer)]
    played.replies[1]["state"] = "unknown"
    played.ledger = [Mail()]
    assert kinds(played.judged()) == (0, 0, 5)
    played.pages.ticket = played.blog.ticket
    assert any("is that of" in one for one in played.judged().astray)


def test_helpdesks_take_turns_and_nothing_is_said_twice() -> None:
    many = [Channel(str(number), {}, str, list) for number in range(3 * len(SAID))]
    desks = {name: Rehearsal(desk=Desk({}, list, lambda ticket, text: None)) for name in "abcde"}
    pairs = make_pairs({"source": Rehearsal(many), **desks})
    assert [pair.helpdesk for pair in pairs[:6]] == ["a", "b", "c", "d", "e", "a"]
    assert len({pair.complaint for pair in pairs}) == len({pair.answer for pair in pairs}) == len(many)
    assert make_pairs({"source": Rehearsal(many)}) == make_pairs(desks) == []
