"""All recorded conversations, undisturbed, told twice and out of order, and with twenty kills on the way."""

from __future__ import annotations

import pytest

from support.commands import CONVERSATIONS, gateway, needs_conversations

pytestmark = [pytest.mark.torture, needs_conversations]


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize(
    "trouble",
    [(), ("--duplicate", "1.0", "--shuffle", "0.5"), ("--kill", "20"), ("--policies",)],
    ids=["undisturbed", "twice and out of order", "killed", "decided again"],
)
async def test_all_conversations_arrive_once_and_in_order(trouble: tuple[str, ...], seed: int) -> None:
    ended = await gateway("replay", str(CONVERSATIONS), "--seed", str(seed), *trouble)
    summary = ended.summary
    assert ended.code == 0, ended.told[-6000:]
    assert (summary["conversations"], summary["clean"]) == (525, True)
    assert (summary["lost"], summary["duplicated"], summary["misplaced"]) == (0, 0, 0)
    assert summary["kills"] == (20 if "--kill" in trouble else 0)
