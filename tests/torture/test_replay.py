"""All recorded conversations, and twenty kills on the way."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import pytest

from support.repository import ROOT

CONVERSATIONS = ROOT.parent / "shared" / "data" / "conversations.jsonl"

pytestmark = [
    pytest.mark.torture,
    pytest.mark.skipif(not CONVERSATIONS.exists(), reason=f"the recorded conversations are not at {CONVERSATIONS}"),
]


async def replay(*arguments: str) -> tuple[int, dict[str, Any], str]:
    """Replay everything: exit code, summary, standard error."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "gateway.cli",
        "replay",
        str(CONVERSATIONS),
        "--json",
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    return process.returncode or 0, json.loads(out) if out.strip() else {}, err.decode()


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("trouble", [(), ("--duplicate", "1.0", "--shuffle", "0.5"), ("--kill", "20")])
async def test_all_conversations_arrive_once_and_in_order(trouble: tuple[str, ...], seed: int) -> None:
    code, summary, err = await replay("--seed", str(seed), *trouble)
    assert code == 0, err[-5000:]
    assert (summary["lost"], summary["duplicated"]) == (0, 0)
