"""How a check of the kit fails: with the fault's name, what happened here, and the mend."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn, TypeVar

import pytest

from gateway_schemas.testing.adapters import NotOffered
from gateway_schemas.testing.faults import FAULTS

R = TypeVar("R")


class FaultFound(AssertionError):
    """A plugin has the fault `fault` of the kit's list."""

    def __init__(self, fault: str, detail: str) -> None:
        known = FAULTS[fault]
        super().__init__(
            f"{fault}: {detail}\n  what it does: {known.what}\n  how to mend it: {known.mend}\n  {known.page}"
        )
        self.fault = fault


def found(fault: str, detail: str) -> NoReturn:
    """Fail the check: the plugin has this fault."""
    __tracebackhide__ = True
    raise FaultFound(fault, detail)


def unless(holds: object, fault: str, detail: str) -> None:
    """Fail the check unless `holds`."""
    __tracebackhide__ = True
    if not holds:
        raise FaultFound(fault, detail)


def needs(declared: object, what: str) -> None:
    """Skip the check unless the plugin declares the capability."""
    if not declared:
        pytest.skip(f"not declared: {what}")


def run(awaitable: Coroutine[Any, Any, R]) -> R:
    """Run to the end on a loop of its own: the kit needs no plugin of pytest for async tests."""
    loop = asyncio.new_event_loop()
    try:
        result = loop.run_until_complete(awaitable)
        return result
    finally:
        loop.run_until_complete(_give_up(asyncio.all_tasks(loop)))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


async def _give_up(tasks: set[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def staged(check: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Make an async check that takes a stage a test: on a new twin, with its errors and logs searched for secrets."""
    parameters = list(inspect.signature(check).parameters.values())

    @functools.wraps(check)
    def test(self: Any, **arguments: Any) -> None:
        __tracebackhide__ = True

        async def play() -> None:
            async with self.stage() as stage:
                await check(self, stage, **arguments)

        try:
            run(play())
        except NotOffered as reason:
            pytest.skip(f"not offered: {reason}")

    del test.__wrapped__
    vars(test)["__signature__"] = inspect.Signature([parameters[0], *parameters[2:]])
    return test
