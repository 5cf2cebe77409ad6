"""`gateway replay` as one runs it: real conversations arrive once and in order, whatever happens on the way."""

from __future__ import annotations

import pytest

from support.commands import CONVERSATIONS, gateway, needs_conversations

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400), needs_conversations]


async def test_recorded_conversations_arrive_once_and_in_order_whatever_happens() -> None:
    """Each webhook twice, out of order, and workers and the database killed on the way."""
    trouble, limit = ("--duplicate", "1.0", "--shuffle", "0.3", "--kill", "2", "--seed", "4"), 8
    ended = await gateway("replay", str(CONVERSATIONS), "--limit", str(limit), *trouble)
    summary = ended.summary
    assert ended.code == 0, ended.told[-4000:]
    assert (summary["conversations"], summary["clean"]) == (limit, True)
    assert (summary["lost"], summary["duplicated"], summary["misplaced"]) == (0, 0, 0)
    assert summary["replies_published"] + summary["native_answers"] >= limit
    assert summary["kills"] == 2


@pytest.mark.torture
async def test_everything_is_decided_the_same_when_it_is_decided_again() -> None:
    ended = await gateway("replay", str(CONVERSATIONS), "--limit", "8", "--policies")
    summary = ended.summary
    assert ended.code == 0, ended.told[-4000:]
    assert summary["decided_again"] == summary["identical"] == summary["decisions"] >= 16
    assert (summary["clean"], summary["not_reproducible"]) == (True, 0)
