"""Plugins that only tests have. Name this module in `plugin_modules`, and every process loads them."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

from pydantic import BaseModel, SecretStr, TypeAdapter

from gateway_schemas import hookimpl
from gateway_schemas.capabilities import SourceCapabilities
from gateway_schemas.decision import Case, Effect, Evidence, Finding, Severity
from gateway_schemas.errors import Malformed, Rejected, Retry, Unverified
from gateway_schemas.interaction import Author, Interaction, Normalised, ReplyTarget, Wanted
from gateway_schemas.plugin import Health
from gateway_schemas.policy import Needs, Policy
from gateway_schemas.reading import Coverage, Mark, Promised, Reader, Reading
from gateway_schemas.reply import Draft, Rendered
from gateway_schemas.source import Source
from gateway_schemas.ticket import TicketChanged
from gateway_schemas.webhook import Hint, Page, RawDelivery, RawPage, WebhookRequest

MODULE = "support.plugins"


class WildConfig(BaseModel):
    """What a connection to nowhere needs."""

    token: SecretStr = SecretStr("nothing")


def said(text: str, *, id: str = "1", **more: Any) -> Interaction:
    """A post with this text."""
    return Interaction(
        external_id=id,
        revision="1",
        account="brand",
        kind="post",
        visibility="public",
        author=Author(external_id="rita", handle="rita"),
        text=text,
        reply_target=ReplyTarget(kind="comment", ref=id),
        published_at=datetime(2026, 3, 12, 10, 15, tzinfo=UTC),
        **more,
    )


class WildSource(Source[WildConfig]):
    """Does in `normalise` what the body says: `{"do": "hang"}`. See `WAYS` for what it knows."""

    name = "wild"
    Config = WildConfig
    capabilities: ClassVar[SourceCapabilities] = SourceCapabilities(kinds=frozenset({"post"}), webhook=True)

    def verify(self, request: WebhookRequest) -> None:
        """Believes everybody."""

    def normalise(self, delivery: RawDelivery) -> Sequence[Normalised]:
        """Behaves as told."""
        order = json.loads(delivery.body)
        found: Sequence[Normalised] = WAYS[order["do"]](order)
        return found

    async def fetch(self, wanted: Sequence[Wanted]) -> Sequence[RawPage]:
        """Has nothing."""
        return ()

    async def poll(self, stream: str, cursor: dict[str, Any] | None) -> Page:
        """Has nothing."""
        return Page((), {})

    def render(self, draft: Draft) -> Rendered:
        """The text in capitals."""
        if not draft.text:
            raise Rejected("there is nothing to say", code="empty")
        return Rendered(
            text=draft.text.upper(),
            account=draft.account,
            target=draft.target,
            visibility=draft.visibility,
            length=len(draft.text),
        )

    async def check(self) -> Health:
        """Always well."""
        return Health(ok=True)


def _say(order: dict[str, Any]) -> list[Normalised]:
    return [said(order.get("text", ""), id=str(order.get("id", "1")), **order.get("more", {}))]


def _hang(_: dict[str, Any]) -> list[Normalised]:
    while True:
        pass


def _cling(_: dict[str, Any]) -> list[Normalised]:
    while True:
        try:
            time.sleep(600)
        except BaseException:
            continue


def _lazy(_: dict[str, Any]) -> Iterable[Normalised]:
    yield said("soon")
    while True:
        pass


def _backtrack(_: dict[str, Any]) -> list[Normalised]:
    re.match(r"(a|a)*$", "a" * 60 + "b")  # in C, holding the interpreter
    return []


def _recurse(order: dict[str, Any]) -> list[Normalised]:
    return _recurse(order)


def _exit(_: dict[str, Any]) -> list[Normalised]:
    os._exit(7)


def _exit_once(order: dict[str, Any]) -> list[Normalised]:
    """Ends its process unless the file is there: as if it had been killed from outside."""
    mark = Path(order["mark"])
    if not mark.exists():
        mark.touch()
        os._exit(9)
    return [said("the second time")]


def _exit_later(_: dict[str, Any]) -> list[Normalised]:
    """Answers, and ends its process while it has nothing to do."""
    threading.Timer(0.1, os._exit, [7]).start()
    return [said("goodbye")]


def _leave(_: dict[str, Any]) -> list[Normalised]:
    sys.exit("I quit")


def _raise(order: dict[str, Any]) -> list[Normalised]:
    raise ValueError(order.get("text", "no reason"))


def _interrupt(_: dict[str, Any]) -> list[Normalised]:
    raise KeyboardInterrupt


def _refuse(order: dict[str, Any]) -> list[Normalised]:
    raise Malformed(f"cannot read {order['text']}")


def _dirty(_: dict[str, Any]) -> list[Normalised]:
    return [said("a\x00b\ud83dc", extra={"k\ud83d": ["\x00", float("nan")]})]


def _local(_: dict[str, Any]) -> list[Normalised]:
    class Mine(Interaction):
        """Cannot be pickled: no other process finds it."""

    return [Mine(**said("mine").model_dump())]


def _deep(_: dict[str, Any]) -> list[Normalised]:
    nested: list[Any] = []
    for _ in range(5000):
        nested = [nested]
    return [said("deep", extra={"nested": nested})]


def _junk(_: dict[str, Any]) -> list[Any]:
    return ["no model"]


def _shout(_: dict[str, Any]) -> list[Normalised]:
    print("x" * 1_000_000)
    return [said("shouted")]


def _pid(_: dict[str, Any]) -> list[Normalised]:
    return [said(str(os.getpid()))]


WAYS: dict[str, Callable[[dict[str, Any]], Any]] = {
    name.removeprefix("_"): way for name, way in list(globals().items()) if name.startswith("_") and callable(way)
}


class RadioConfig(BaseModel):
    """Where the radio station's lines are read."""

    station: str


class RadioSource(Source[RadioConfig]):
    """Follows a file as a stream. Each line is an order: `hint`, `say <id>`, `end` or `break`.

    What `hint` announces is what `WildSource.poll` would bring: here, the lines of the file beside it.
    """

    name = "radio"
    Config = RadioConfig
    capabilities: ClassVar[SourceCapabilities] = SourceCapabilities(
        kinds=frozenset({"post"}), listen=True, poll=True, streams=("posts",), poll_every=timedelta(days=1)
    )

    def verify(self, request: WebhookRequest) -> None:
        """Has no webhooks."""
        raise Unverified("a radio has no webhooks", code="no_webhooks")

    def normalise(self, delivery: RawDelivery) -> Sequence[Normalised]:
        """One post a line."""
        return [said(f"on the radio: {id}", id=id) for id in delivery.body.decode().split()]

    async def poll(self, stream: str, cursor: dict[str, Any] | None) -> Page:
        """All that was announced, each time."""
        told = Path(self.config.station).with_suffix(".posts")
        return Page([RawPage(told.read_bytes(), stream=stream)] if told.exists() else (), {})

    async def listen(self) -> AsyncIterator[Hint]:
        """Reads on from where the file ends now; notes in the file of listeners who listens."""
        station = Path(self.config.station)  # a file on this machine: nobody waits for it
        with station.open() as lines, station.with_suffix(".listeners").open("a") as listeners:  # noqa: ASYNC230
            lines.seek(0, os.SEEK_END)
            listeners.write("on\n")
            listeners.flush()
            try:
                while True:
                    match lines.readline().split():
                        case ["hint"]:
                            yield Hint(stream="posts")
                        case ["say", id]:
                            yield Hint(page=RawPage(id.encode()))
                        case ["end"]:
                            return
                        case ["break"]:
                            raise Retry("the stream broke", code="broken")
                        case _:
                            await asyncio.sleep(0.02)
            finally:
                listeners.write("off\n")

    async def check(self) -> Health:
        """Always well."""
        return Health(ok=True)


class WildParams(BaseModel):
    """What the policy shall do."""

    do: str = "find"
    second_person: bool = False


class WildPolicy(Policy[WildParams]):
    """Finds something in every reply, or misbehaves."""

    type = "wild"
    default_mode = "off"
    Params = WildParams

    def review_reply(self, case: Case, rendered: Rendered) -> Iterable[Finding]:
        """Holds, hangs or breaks."""
        while self.params.do == "hang":
            pass
        if self.params.do == "raise":
            raise ValueError("no")
        yield Finding(
            severity=Severity.hold,
            code="wild",
            message=f"seen {rendered.text}\x00",
            second_person=self.params.second_person,
        )


class Line(BaseModel):
    """What a scripted policy says, and about which texts."""

    point: str = "review_reply"
    if_text: str = ""
    if_tag: str = ""
    """Only about tickets with this tag."""
    if_incident: str = ""
    unless_incident: str = ""
    if_said: int = 0
    """Only after this many earlier messages of the matter."""
    say: dict[str, Any]


class ScriptedParams(BaseModel):
    """What to say when."""

    lines: tuple[Line, ...] = ()


class ScriptedPolicy(Policy[ScriptedParams]):
    """Says what its parameters say: `{"severity": …}` is a finding, `{"effect": …}` an effect."""

    type = "scripted"
    version = "7"
    many = True
    Params = ScriptedParams
    needs = Needs(timeline=20, customer=True, clocks=True, promises=True, incidents=True, lists=("vips",))

    def _say(self, point: str, case: Case, text: str) -> Iterable[Any]:
        incidents = {one.key for one in case.incidents}
        for line in self.params.lines:
            fits = line.point == point and line.if_text in text and len(case.timeline) >= line.if_said
            tagged = not line.if_tag or (case.ticket is not None and line.if_tag in case.ticket.tags)
            incident = not line.if_incident or line.if_incident in incidents
            if fits and tagged and incident and line.unless_incident not in incidents:
                yield (EFFECT if "effect" in line.say else FINDING).validate_python(line.say)

    def on_interaction(self, case: Case, interaction: Interaction) -> Iterable[Effect]:
        """As scripted."""
        return self._say("on_interaction", case, interaction.text)

    def review_reply(self, case: Case, rendered: Rendered) -> Iterable[Finding | Effect]:
        """As scripted."""
        return self._say("review_reply", case, rendered.text)

    def on_own_post(self, case: Case, post: Interaction) -> Iterable[Finding | Effect]:
        """As scripted."""
        return self._say("on_own_post", case, post.text)

    def on_ticket(self, case: Case, change: TicketChanged) -> Iterable[Effect]:
        """As scripted, where the text is the new status."""
        return self._say("on_ticket", case, change.status or "")


FINDING: TypeAdapter[Any] = TypeAdapter(Finding)
EFFECT: TypeAdapter[Any] = TypeAdapter(Effect)


class ToneParams(BaseModel):
    """The word not to be said."""

    word: str = "nonsense"


class TonePolicy(Policy[ToneParams]):
    """Judges manners by one word, with the help of a reader."""

    type = "manners"
    default_mode = "off"
    tone = True
    Params = ToneParams
    needs = Needs(reader=True)

    def review_reply(self, case: Case, rendered: Rendered) -> Iterable[Finding]:
        """Holds the word."""
        for mark in self.read_reply(case, rendered).of("insults"):
            if mark.text == self.params.word:
                evidence = (Evidence(start=mark.start, end=mark.end, text=mark.text),)
                yield Finding(severity=Severity.hold, code="rude", message="That is rude.", evidence=evidence)


class WordReader(Reader):
    """Knows three words of English, and that `zzz` is no language."""

    name = "0-words"  # before the installed ones
    version = "1"
    languages: ClassVar[dict[str, Coverage]] = {"en": "full"}

    def read(self, text: str, *, speaker: Any, at: Any, language: str | None = None, **_: Any) -> Reading:
        """Marks of the words it knows."""
        if (language or "en")[:2] != "en" or "zzz" in text:
            return Reading(language=language)
        marks = [
            Mark(signal=signal, start=match.start(), end=match.end(), text=match.group())
            for signal, word in (("insults", "nonsense"), ("incentive_offered", "voucher"), ("acknowledges", "sorry"))
            for match in re.finditer(word, text)
        ]
        promises = [
            Promised(quote=match.group(), start=match.start(), end=match.end(), due=at + timedelta(days=1))
            for match in re.finditer("by tomorrow", text)
        ]
        return Reading(language="en", coverage="full", marks=tuple(marks), promises=tuple(promises))


@hookimpl
def register_readers() -> list[type[Reader]]:
    """Called once at start."""
    return [WordReader]


@hookimpl
def register_sources() -> list[type[Source[Any]]]:
    """Called once at start."""
    return [WildSource, RadioSource]


@hookimpl
def register_policies() -> list[type[Policy[Any]]]:
    """Called once at start."""
    return [WildPolicy, ScriptedPolicy, TonePolicy]
