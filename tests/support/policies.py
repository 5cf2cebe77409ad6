"""Putting policies into force the way the REST API does, for tests of what they do."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from gateway.policy.content import Content
from gateway.policy.library import Activation, activate, checked, create, revise
from gateway.policy.sets import Active, Member
from gateway.registry import Registry
from gateway.runtime import Runtime


async def put(
    runtime: Runtime,
    type: str,
    params: dict[str, Any] | None = None,
    *,
    name: str | None = None,
    brand_id: UUID | None = None,
    locked: bool = False,
    **content: Any,
) -> UUID:
    """A policy in force from now on, and this process knows of it at once."""
    full = checked(runtime.registry, type, Content.model_validate({"params": params or {}, **content}))
    now = runtime.now()
    async with runtime.database.write() as connection:
        id = await create(
            connection, name=name or type, type=type, content=full, now=now, brand_id=brand_id, locked=locked
        )
        number = await revise(connection, id, reason="for a test", author="test", now=now)
        await activate(connection, [Activation(id, number)], reason="for a test", author="test", now=now)
    forget(runtime)
    return id


def forget(runtime: Runtime) -> None:
    """Have this process look at the set in force again, as it does by itself a second later."""
    runtime.policies.forget(runtime.now())


def active(registry: Registry, type: str, params: dict[str, Any] | None = None, **changes: Any) -> Active:
    """A member of a set, for tests without a database."""
    values: dict[str, Any] = {
        **{"policy": type, "type": type, "type_version": "1", "revision": 1, "params": params or {}, "mode": "on"},
        **{"on_error": "hold", "scope": {}},
        **changes,
    }
    return Active.of(Member(**values), registry)
