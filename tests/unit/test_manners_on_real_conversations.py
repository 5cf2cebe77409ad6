"""The default policies on real agents' answers: rules that stop or scold every second one would be switched off."""

from __future__ import annotations

import importlib
import json
from collections import Counter
from datetime import datetime
from importlib.metadata import entry_points
from typing import Any

import pytest

from gateway_reading.reader import PackReader
from gateway_schemas.decision import Case, Finding, TimelineEntry
from gateway_schemas.hookspecs import ENTRY_POINTS
from gateway_schemas.interaction import Author, Interaction
from gateway_schemas.policy import Policy
from gateway_schemas.testing.policies import message, rendered
from support.repository import ROOT

DATA = ROOT.parent / "shared" / "data" / "conversations.jsonl"


def policies() -> list[Policy[Any]]:
    """One of each policy type that is on by default, with its default parameters."""
    reader = PackReader()
    modules = [importlib.import_module(each.value) for each in entry_points(group=ENTRY_POINTS)]
    types = [kind for module in modules for kind in getattr(module, "register_policies", list)()]
    chosen = [kind for kind in types if kind.default_mode == "on" and not _required(kind.Params)]
    return [kind(kind.Params(), reader) for kind in chosen]


def _required(params: Any) -> bool:
    return any(field.is_required() for field in params.model_fields.values())


@pytest.mark.slow
@pytest.mark.skipif(not DATA.exists(), reason=f"no real conversations at {DATA}")
def test_few_real_answers_are_held_or_scolded() -> None:
    everyone = policies()
    replies, worst, told = 0, Counter[str](), Counter[str]()
    for line in DATA.read_text("utf-8").splitlines():
        timeline: list[TimelineEntry] = []
        last: Interaction = message("")
        for post in json.loads(line)["messages"]:
            at = datetime.fromisoformat(post["at"])
            by_agent = post["from"] == "agent"
            if by_agent:
                replies += 1
                case = Case(now=at, source="x", timeline=tuple(timeline), interaction=last)
                reply = rendered(post["text"])
                found = [one for policy in everyone for one in policy.review_reply(case, reply)]
                findings = [one for one in found if isinstance(one, Finding)]
                worst[max((one.severity for one in findings), key=lambda one: one.rank, default="allow")] += 1
                told.update(f"{one.code} {one.severity}" for one in findings)
                for one in findings:
                    if one.severity.rank > 1:
                        print(f"{one.severity} {one.code}: {post['text']}")
            else:
                last = message(post["text"], published_at=at, author=Author(external_id=post["author"]))
            timeline.append(
                TimelineEntry(
                    at=at,
                    who="agent" if by_agent else "customer",
                    visibility="public",
                    text=post["text"],
                    language="en",
                )
            )
    print(f"{replies} answers: {dict(worst)}; {dict(told)}")
    assert replies == 586
    assert worst["hold"] + worst["block"] <= 0.01 * replies
    assert worst["warn"] <= 0.10 * replies
