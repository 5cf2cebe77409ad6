"""A twin that runs by itself, to look at and to connect to: `gateway twin zendesk --port 9001`."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
from collections.abc import Iterator
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway_schemas.testing.twin import Twin

ENTRY_POINTS = "helpdesk_gateway.twins"


class TwinMissing(Exception):
    """No twin of that name is installed. The message says what to install."""


def installed() -> list[str]:
    """The names of the twins that are installed."""
    return sorted({entry.name for entry in entry_points(group=ENTRY_POINTS)})


def twin_class(name: str) -> type[Twin]:
    """The twin of the plugin `name`. Raises TwinMissing when that is not installed, or not with its extra `twin`."""
    found = next(iter(entry_points(group=ENTRY_POINTS, name=name)), None)
    if found is None:
        known = ", ".join(installed()) or "none"
        raise TwinMissing(
            f"there is no twin {name}: install helpdesk-gateway-{name.replace('_', '-')}[twin]. Installed: {known}"
        )
    try:
        loaded: type[Twin] = found.load()
    except ModuleNotFoundError as error:
        distribution = found.dist.name if found.dist else f"helpdesk-gateway-{name}"
        raise TwinMissing(f"the twin {name} needs {error.name}: install {distribution}[twin]") from error
    return loaded


async def run(name: str, *, port: int, seed: int, faults: float, until: asyncio.Event | None = None) -> None:
    """Serve the twin on loopback until it is interrupted, or `until` is set; prints where it is and how to connect."""
    from gateway_schemas.testing.twin_faults import FaultSchedule, SkewedTime

    twin = twin_class(name)(time=SkewedTime(), seed=seed)
    if faults:
        twin.schedule = FaultSchedule(seed=seed, share=faults)
    over = until or asyncio.Event()
    async with twin.serve(port=port) as url:
        print(f"{name} is at {url}\nits state, its ledger and its faults: {url}/_twin", flush=True)
        for part, values in twin.furnish().items():
            print(f"\nconnect with this as {part}:\n{json.dumps(values, indent=2)}", flush=True)
        with _interrupted(over):
            await over.wait()


@contextlib.contextmanager
def _interrupted(over: asyncio.Event) -> Iterator[None]:
    """Ctrl-C and a polite kill end it; on Windows, which tells the loop of neither, Ctrl-C ends the process."""
    caught = () if sys.platform == "win32" else (signal.SIGINT, signal.SIGTERM)
    loop = asyncio.get_running_loop()
    for number in caught:
        loop.add_signal_handler(number, over.set)
    try:
        yield
    finally:
        for number in caught:
            loop.remove_signal_handler(number)
