"""The evening and the replay, as the commands run them."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from support.repository import ROOT

CONVERSATIONS = ROOT.parent / "shared" / "data" / "conversations.jsonl"


async def run(*arguments: str) -> tuple[int, dict[str, Any], str]:
    """Run a command of the gateway: exit code, the JSON object on standard output, standard error."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "gateway.cli",
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    summary = json.loads(out) if out.strip() else {}
    return process.returncode or 0, summary, err.decode()


@pytest.mark.slow
async def test_the_evening_ends_with_everything_everywhere_once() -> None:
    code, summary, err = await run("demo", "--once", "--json")
    assert code == 0, err[-3000:]
    assert summary["conversations"] >= 40
    assert (summary["lost"], summary["duplicated"], summary["problems"]) == (0, 0, [])
    assert summary["replies_held_or_refused"] == 2


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.skipif(not CONVERSATIONS.exists(), reason=f"the recorded conversations are not at {CONVERSATIONS}")
@pytest.mark.parametrize("trouble", [(), ("--duplicate", "1.0", "--shuffle", "0.3"), ("--kill", "2")])
async def test_recorded_conversations_arrive_once_and_in_order(trouble: tuple[str, ...]) -> None:
    code, summary, err = await run("replay", str(CONVERSATIONS), "--limit", "30", "--json", *trouble)
    assert code == 0, err[-3000:]
    assert (summary["conversations"], summary["lost"], summary["duplicated"]) == (30, 0, 0)


def test_the_script_has_labels_that_exist() -> None:
    script = json.loads((ROOT / "gateway" / "demo" / "evening.json").read_text("utf-8"))
    for lines in script["conversations"]:
        known: set[str] = set()
        for _, does, *rest in lines:
            if does in ("reply", "native"):
                assert rest[1] in known
            if does in ("post", "own", "reply", "native", "dm", "topic", "review"):
                assert rest[0] not in known
                known.add(rest[0])
            else:
                assert rest[0] in known


def test_the_recording_reader_names_the_line_that_is_wrong(tmp_path: Path) -> None:
    from gateway.demo.recordings import RecordingBroken, load

    broken = tmp_path / "broken.jsonl"
    broken.write_text('{"id": "a"}\n', "utf-8")
    with pytest.raises(RecordingBroken, match="1"):
        load(broken, None)
