"""Commands of the gateway as processes: their exit codes, and what they say."""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import dataclass
from typing import Any

import pytest

from support.repository import ROOT

CONVERSATIONS = ROOT.parent / "shared" / "data" / "conversations.jsonl"
"""Recorded conversations, which some checkouts have beside them."""

needs_conversations = pytest.mark.skipif(
    not CONVERSATIONS.exists(), reason="the recorded conversations are not beside this checkout"
)


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    summary: dict[str, Any]
    """The JSON object on standard output."""
    told: str
    """What it wrote to standard error."""


async def gateway(*arguments: str) -> Ended:
    """Run `gateway …` with `--json` to its end."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway.cli", *arguments, "--json"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    return Ended(process.returncode or 0, json.loads(out) if out.strip() else {}, err.decode("utf-8", "replace"))
