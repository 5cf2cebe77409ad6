"""Calls to providers that somebody asked for over REST, and what is answered when they fail."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from gateway.api.problems import Problem, conflict
from gateway.connections import ConfigInvalid, Endpoint, PluginMissing
from gateway.net.client import calling
from gateway.pipeline.trouble import Trouble, trouble_of
from gateway.registry import Connected
from gateway.runtime import Runtime

log = logging.getLogger(__name__)

SECONDS = 60.0
"""How long one of them may take in all."""

T = TypeVar("T")


class ProviderProblem(Problem):
    """The provider or its plugin failed; `trouble` says how one recovers from it."""

    def __init__(self, trouble: Trouble) -> None:
        status, name, headers = 502, "provider-refused", {}
        if trouble.code == "plugin_bug":
            name = "plugin-failed"
        elif trouble.kind == "retry":
            status, name = 503, "provider-away"
            after = trouble.after.total_seconds() if trouble.after is not None else 5
            headers = {"Retry-After": str(max(1, round(after)))}
        elif trouble.kind == "unknown":
            status, name = 504, "provider-away"
        super().__init__(status, name, trouble.reason, headers=headers, code=trouble.code)
        self.trouble = trouble


async def ask(call: Callable[[], Awaitable[T]]) -> T:
    """Make a plugin's call for a person who waits for it. Raises ProviderProblem."""
    try:
        with calling(lane="interactive", seconds=SECONDS):
            async with asyncio.timeout(SECONDS):
                return await call()
    except Exception as error:  # whatever it is, it is the answer
        trouble = trouble_of(error)
        if trouble.code == "plugin_bug":
            log.exception("a plugin failed")
        raise ProviderProblem(trouble) from error


def plugin_for(runtime: Runtime, endpoint: Endpoint, *, door: str | None = None) -> Connected:
    """The plugin of a connection, made for one action. Raises Problem 409 when it is missing or misconfigured."""
    try:
        return runtime.connections.fresh(endpoint, outgoing=runtime.outgoing, door=door)
    except (PluginMissing, ConfigInvalid) as error:
        raise conflict(str(error)) from error
