"""What checks of sources do on the stage: hear of things, answer them, look at what was published."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from gateway_schemas.errors import GatewayError
from gateway_schemas.interaction import Interaction, version_order
from gateway_schemas.reply import Draft, Rendered, SendIntent, Sent
from gateway_schemas.testing.adapters import Answer, SourceAdapter
from gateway_schemas.testing.failure import found, needs, unless
from gateway_schemas.testing.stage import Stage

SourceStage = Stage[Any, SourceAdapter[Any]]
LEGS = pytest.mark.parametrize("private", [False, True], ids=["public", "private"])
"""For checks that hold of public posts and of private messages."""


def interactions(news: Iterable[Any]) -> dict[str, Interaction]:
    """The interactions among news by id; of one told twice the newest version, as the host takes it."""
    known: dict[str, Interaction] = {}
    for item in news:
        if isinstance(item, Interaction):
            before = known.get(item.external_id)
            if before is None or version_order(item) >= version_order(before):
                known[item.external_id] = item
    return known


def about(news: Iterable[Any], id: str) -> Interaction:
    """The interaction of that id, which must be among the news."""
    known = interactions(news)
    if id not in known:
        found("not_noticed", f"what a customer wrote ({id}) is not told; told were: {sorted(known) or 'nothing'}")
    return known[id]


async def heard(stage: SourceStage, text: str = "my parcel is late", *, private: bool = False) -> Interaction:
    """A customer writes, and the plugin tells of it."""
    id = stage.adapter.write(text, private=private)
    return about(await stage.learn(), id)


async def asked(stage: SourceStage, *, private: bool = False, text: str = "where is it?") -> Interaction:
    """A customer asks something that can be answered."""
    needs(stage.capabilities.reply, "reply")
    if stage.capabilities.webhook:
        await stage.install()
    return await heard(stage, text, private=private)


def draft(interaction: Interaction, text: str, stage: SourceStage, **changes: Any) -> Draft:
    """An agent's answer to it."""
    if interaction.reply_target is None:
        found("no_way_to_answer", f"{interaction.external_id} ({interaction.kind}) has no reply_target")
    values: dict[str, Any] = {
        "reply_id": "kit-reply",
        "text": text,
        "account": interaction.account,
        "target": interaction.reply_target,
        "visibility": interaction.visibility,
        "interaction": interaction,
        "written_at": stage.time.now(),
    }
    return Draft(**{**values, **changes})


def rendered(stage: SourceStage, interaction: Interaction, text: str = "We are on it.") -> Rendered:
    """An answer as it will leave."""
    result: Rendered = stage.plugin.render(draft(interaction, text, stage))
    return result


async def sent(stage: SourceStage, what: Rendered, key: str = "kit-key-1") -> Sent:
    """A send that must succeed."""
    outcome: Any = await stage.attempt(stage.plugin.send(what, key))
    if isinstance(outcome, GatewayError):
        found("answer_not_sent", f"send raises {type(outcome).__name__}: {outcome.reason}")
    if not isinstance(outcome, Sent):
        found("answer_not_sent", f"send gives {type(outcome).__name__}")
    return outcome


def intent(stage: SourceStage, what: Rendered, key: str = "kit-key-1") -> SendIntent:
    """A send begun now whose outcome will not be known."""
    return SendIntent(key=key, rendered=what, started_at=stage.time.now())


def publishing(stage: SourceStage, *, private: bool = False) -> tuple[str, str]:
    """The request that publishes."""
    adapter = stage.adapter
    return adapter.messaging or adapter.publishing if private else adapter.publishing


def only_answer(stage: SourceStage, fault: str = "answer_not_sent") -> Answer:
    """The one answer that stands at the provider."""
    answers = stage.adapter.answers()
    unless(len(answers) == 1, fault, f"the provider shows {len(answers)} answers instead of one: {answers}")
    return answers[0]
