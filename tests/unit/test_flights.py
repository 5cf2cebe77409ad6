"""In whatever order agents, customers, approvers and senders act: never undecided, never twice, never too public."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from gateway.pipeline.leaving import Leave
from gateway.pipeline.targets import Target, choose_target
from support import flights


def evenings(first: int, count: int, **broken: Any) -> Counter[str]:
    """Play so many, and count how replies ended."""
    ends: Counter[str] = Counter()
    for seed in range(first, first + count):
        world = flights.play(seed, **broken)
        ends.update(f"{one['state']}:{one['code']}" for one in world.replies)
        ends["posts"] += len(world.posts)
        ends["public"] += sum(visibility == "public" for _, visibility, _ in world.posts)
        ends["approved"] += sum(bool(one["waived"]) and one["state"] == "sent" for one in world.replies)
    return ends


def test_no_order_of_events_breaks_a_promise() -> None:
    ends = evenings(0, 1_000)
    # the world is worth playing in: all of this happens
    for what in ("posts", "public", "approved", "sent:None", "held:newer_message", "held:private_only", "queued:None"):
        assert ends[what] > 5, ends


def trusting(reply: dict[str, Any], heard: list[dict[str, Any]]) -> Target:
    """Goes by the helpdesk's times as if they were exact."""
    return choose_target({**reply, "written_at": reply["written_at"] + timedelta(seconds=0.999)}, heard)


def careless(reply: dict[str, Any], heard: list[dict[str, Any]]) -> Target:
    """Does not look at what came between."""
    target = choose_target(reply, heard)
    return target if target.code == "target_deleted" else replace(target, hold=None, code=None)


BROKEN: dict[str, dict[str, Any]] = {
    "undecided": {"leave": lambda *_: Leave("go")},
    "a private answer in public": {"choose": careless},
    "made public": {"leaks": lambda *_: []},
}


@pytest.mark.parametrize("what", BROKEN)
def test_the_world_sees_what_is_broken(what: str) -> None:
    with pytest.raises(AssertionError, match=what):
        evenings(0, 3_000, **BROKEN[what])


def test_the_world_sees_that_times_of_whole_seconds_are_taken_for_exact() -> None:
    with pytest.raises(AssertionError, match=r"in public|against"):
        evenings(0, 3_000, choose=trusting)
