"""What `gateway audit …` does: the head of the log, and its verification. No plugin is needed for either."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.registry import Registry
from gateway.runtime import open_runtime
from gateway.security.audit.entries import Head
from gateway.security.audit.log import read_head
from gateway.security.audit.verify import Verification, verify
from gateway.settings import Settings


async def head_from_command_line(settings: Settings) -> Head:
    """Called by `gateway audit head`."""
    async with open_runtime(settings, registry=Registry()) as runtime, runtime.database.read() as connection:
        return await read_head(connection)


async def verify_from_command_line(settings: Settings, heads: Sequence[Head]) -> Verification:
    """Called by `gateway audit verify`."""
    async with open_runtime(settings, registry=Registry()) as runtime, runtime.database.read() as connection:
        return await verify(connection, runtime.vault, heads)
