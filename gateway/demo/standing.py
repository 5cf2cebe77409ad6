"""What stands in the gateway when the evening is over, read over REST, against what the script says: nobody was warned,
no promise ended and no incident opened but those of the script, and what was counted is there once.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass
from typing import Any

from gateway.demo.evening import Evening
from gateway.demo.observer import RESPONSES
from gateway.demo.rest import Rest

AT_ONCE = 4
KINDS = {"warnings": "warned", "breaches": "breached", "escalations": "escalated"}
"""The steps that a clock takes, by their names in a summary."""


@dataclass(frozen=True)
class Standing:
    """What stands in the gateway, over all of it."""

    clocks: list[dict[str, Any]]
    promises: Counter[str]
    incidents: list[dict[str, Any]]
    alarms: Counter[str]
    steps: dict[str, list[str]]
    """Of each kind of step, the customers whose clocks took it."""

    def numbers(self, counted: int) -> dict[str, Any]:
        """As a summary has it; `counted` are messages that were counted under incidents."""
        return {
            "clocks": dict(sorted(Counter(_state(one) for one in self.clocks).items())),
            "sla": {name: len(self.steps[kind]) for name, kind in KINDS.items()},
            "promises": dict(sorted(self.promises.items())),
            "incidents": {
                "opened": len(self.incidents),
                "messages": sum(int(one["messages"]) for one in self.incidents),
                "counted": counted,
            },
            "alarms": dict(sorted(self.alarms.items())),
        }


async def look(rest: Rest) -> Standing:
    """Read it over REST."""
    clocks = [one async for one in rest.listed("clocks", limit="200")]
    return Standing(
        clocks=clocks,
        promises=Counter([str(one["state"]) async for one in rest.listed("promises", limit="200")]),
        incidents=[one async for one in rest.listed("incidents", limit="200")],
        alarms=Counter([str(one["code"]) async for one in rest.listed("alarms", limit="200")]),
        steps=await _steps(rest, [one for one in clocks if one["kind"] in RESPONSES]),
    )


async def stand(evening: Evening, rest: Rest) -> tuple[dict[str, Any], list[str]]:
    """The gateway's own numbers of the evening, and where they differ from the script."""
    standing = await look(rest)
    steps, ended, incidents, alarms = standing.steps, standing.promises, standing.incidents, standing.alarms
    lines = Counter(line.deed for line in evening.script.lines)
    expected = {
        "warnings": (len(steps["warned"]), lines["warned"]),
        "breaches": (len(steps["breached"]), lines["breached"]),
        "escalations": (len(steps["escalated"]), 0),
        "promises kept": (ended["kept"], lines["kept"] + lines["settles"]),
        "promises broken": (ended["broken"], lines["broken"]),
        "incidents": (len(incidents), lines["opened"]),
        "incidents that go on": (sum(one["closed_at"] is None for one in incidents), lines["opened"] - lines["ends"]),
        "alarms of breaches": (alarms["sla_breach"], lines["breached"]),
        "alarms of broken promises": (alarms["promise_broken"], lines["broken"]),
    }
    problems = [
        f"{name}: {found}, and {wanted} in the script ({', '.join(steps.get(KINDS.get(name, ''), ())) or 'see /v1'})"
        for name, (found, wanted) in expected.items()
        if found != wanted
    ]
    problems += await _counted_once(evening, rest, incidents)
    return standing.numbers(counted=evening.counts["counted"]), problems


def _state(clock: dict[str, Any]) -> str:
    """A clock that goes on after its time is over is told apart from one that has time left."""
    over = clock["state"] in ("running", "paused") and clock["breached_at"] is not None
    return "breached" if over else str(clock["state"])


async def _steps(rest: Rest, clocks: list[dict[str, Any]]) -> dict[str, list[str]]:
    """Of each kind of step, the customers whose clocks took it."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def read(clock: dict[str, Any]) -> list[tuple[str, str]]:
        async with gate:
            events = (await rest.get(f"clocks/{clock['id']}"))["events"]
            kinds = [str(one["kind"]) for one in events if one["kind"] in KINDS.values()]
            if not kinds:
                return []
            ticket = await rest.get(f"tickets/{clock['ticket_id']}")
            return [(kind, f"{ticket['customer']} of ticket {ticket['external_id']}") for kind in kinds]

    found: dict[str, list[str]] = {kind: [] for kind in KINDS.values()}
    for steps in await asyncio.gather(*map(read, clocks)):
        for kind, customer in steps:
            found[kind].append(customer)
    return found


async def _counted_once(evening: Evening, rest: Rest, incidents: list[dict[str, Any]]) -> list[str]:
    """Each message that was counted is on the timeline of an incident's ticket, once."""
    texts: Counter[str] = Counter()
    for incident in incidents:
        if incident["ticket_id"] is not None:
            texts.update(str(one["text"]) for one in (await rest.get(f"tickets/{incident['ticket_id']}"))["timeline"])
    return [
        f"counted {texts[line.text]} times: “{line.text}”"
        for line in evening.script.lines
        if line.heard == "counted" and texts[line.text] != 1
    ]
