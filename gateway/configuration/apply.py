"""Applying files: the plan that was shown, all of it in one transaction, or nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.api.problems import FieldError, Problem, invalid
from gateway.configuration.kinds import Kind, Work
from gateway.configuration.plan import Bundle, Change, ConfigurationInvalid, Plan, make_plan
from gateway.configuration.registry import all_kinds
from gateway.db.database import execute
from gateway.runtime import Runtime
from gateway.security.keys import Caller


class ChangedMeanwhile(Exception):
    """What is kept, or the documents, are not those that the plan was made of. `plan` is the new one."""

    def __init__(self, plan: Plan) -> None:
        super().__init__("Something was changed since the plan was made; nothing was applied.")
        self.plan = plan


@dataclass(frozen=True)
class Applied:
    """What was done."""

    plan: Plan
    next: tuple[str, ...] = field(default=())
    """What is left for a person to do."""


@asynccontextmanager
async def snapshot(runtime: Runtime) -> AsyncIterator[AsyncConnection]:
    """One moment of the database, to be read."""
    async with runtime.database.engine.connect() as connection:
        await connection.execution_options(isolation_level="REPEATABLE READ")
        async with connection.begin() as transaction:
            yield connection
            await transaction.rollback()


async def plan_for(runtime: Runtime, bundle: Bundle, errors: Sequence[FieldError] = ()) -> Plan:
    """What applying would do; nothing is changed. Raises ConfigurationInvalid."""
    async with snapshot(runtime) as connection:
        return await make_plan(connection, runtime, bundle, errors)


async def apply(runtime: Runtime, bundle: Bundle, *, digest: str, reason: str, caller: Caller | None) -> Applied:
    """Do what the plan with this digest says. Raises ChangedMeanwhile where it would be another plan by now,
    ConfigurationInvalid, and Problem 409 and 422; then nothing has changed."""
    plan = await plan_for(runtime, bundle)
    if plan.digest != digest:
        raise ChangedMeanwhile(plan)
    if plan.needs_reason and not reason:
        raise invalid("reason", "policies and lists do not change without one", "say why")
    prepared = await _prepare(runtime, plan)
    async with runtime.database.write() as connection:
        # of two that apply at once, the second sees what the first did
        await execute(connection, "SELECT pg_advisory_xact_lock(hashtext('configuration'))")
        for kind in all_kinds():
            held = [change.stored for change in plan.changes if change.kind.folder == kind.folder and change.stored]
            await kind.lock(connection, held)
        plan = await make_plan(connection, runtime, bundle)
        if plan.digest != digest:
            raise ChangedMeanwhile(plan)
        work = Work(runtime, connection, runtime.now(), caller, reason, prepared)
        await _do(work, plan)
    for id in work.forgets:
        runtime.connections.forget(id)
    runtime.policies.forget(work.now)
    await runtime.wake(work.wakes)
    return Applied(plan, tuple(work.next))


async def _prepare(runtime: Runtime, plan: Plan) -> dict[str, Any]:
    """What changes need from elsewhere. All that cannot be had is named at once."""
    prepared: dict[str, Any] = {}
    errors: list[FieldError] = []
    for change in plan.changes:
        if change.wanted is not None:
            try:
                prepared[change.file] = await change.kind.prepare(runtime, change.stored, change.wanted)
            except Problem as problem:
                errors += _named(problem, change)
    if errors:
        raise ConfigurationInvalid(errors)
    return prepared


async def _do(work: Work, plan: Plan) -> None:
    kinds = all_kinds()
    for kind in kinds:
        for change in _of(plan, kind):
            if change.wanted is not None:
                await _one(work, kind, change)
    # what nothing names any more goes last, policies before the calendars that they went by
    for kind in reversed(kinds):
        for change in _of(plan, kind):
            if change.wanted is None:
                await _one(work, kind, change)
        await kind.finish(work)


def _of(plan: Plan, kind: Kind[Any]) -> list[Change]:
    return [change for change in plan.changes if change.kind.folder == kind.folder]


async def _one(work: Work, kind: Kind[Any], change: Change) -> None:
    try:
        if change.wanted is None:
            assert change.stored is not None
            await kind.remove(work, change.stored)
        elif change.stored is None:
            await kind.create(work, change.wanted)
        else:
            await kind.change(work, change.stored, change.wanted)
    except Problem as problem:
        raise Problem(
            problem.status_code, problem.name, f"{change.key}: {problem.detail}", errors=_named(problem, change)
        ) from problem


def _named(problem: Problem, change: Change) -> list[FieldError]:
    errors = problem.errors or [FieldError(field="", message=str(problem.detail))]
    return [one.model_copy(update={"file": change.file or None}) for one in errors]
