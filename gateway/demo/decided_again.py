"""The shipped policies during a replay: they are asked about everything and do nothing, and are asked once more at the
end. Equal cases must give equal decisions."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from gateway.demo.rest import Rest

REASON = "a recording is replayed: everything is decided, nothing is done"
PATIENCE = 1800.0
LOOK = 0.2


@dataclass(frozen=True)
class DecidedAgain:
    """What came of deciding everything once more."""

    report: dict[str, Any]
    seconds: float

    @property
    def clean(self) -> bool:
        """Whether every decision that can be made again was the same."""
        return bool(self.report["state"] == "done" and self.report["identical"] == self.report["decisions"])

    def summary(self) -> dict[str, Any]:
        """Its part of the replay's numbers."""
        return {
            "decisions": self.report["total"],
            "decided_again": self.report["decisions"],
            "identical": self.report["identical"],
            "not_reproducible": sum(self.report["not_reproducible"].values()),
            "decisions_per_second": round(self.report["decisions"] / max(self.seconds, 0.001)),
        }


async def only_watch(rest: Rest) -> None:
    """Put every policy that is in force into shadow. Raises RestRefused."""
    items = []
    async for policy in rest.listed("policies"):
        if policy["revision_in_force"] is None or policy["draft"]["mode"] == "shadow":
            continue
        await rest.change(f"policies/{policy['id']}", {"mode": "shadow"})
        made = await rest.post(f"policies/{policy['id']}/revisions", {"reason": REASON})
        items.append({"policy": policy["id"], "revision": made["number"]})
    await rest.post("policies/activate", {"policies": items, "reason": REASON})


async def decide_again(rest: Rest, since: datetime) -> DecidedAgain:
    """Run the policies that decided over all that they decided since then. Raises RestRefused and TimeoutError."""
    began = time.monotonic()
    started = await rest.post("backtests", {"since": since.isoformat()})
    async with asyncio.timeout(PATIENCE):
        while True:
            report = await rest.get(f"backtests/{started['id']}")
            if report["state"] not in ("pending", "running"):
                return DecidedAgain(report, time.monotonic() - began)
            await asyncio.sleep(LOOK)
