"""Policies as files: what is to be in force. How it came to that is in the installation's revisions, with reasons."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.api.policies import NewPolicy, checked_content, content_of
from gateway.api.policies_in_force import refuse_failing
from gateway.api.problems import Problem, conflict
from gateway.configuration.kinds import Faults, Ground, Kind, Stored, Wanted, Work, defaults_of, without
from gateway.db.database import Row, fetch_all
from gateway.policy import library, trial
from gateway.policy.content import Content
from gateway.policy.library import Activation, NotPossible, ParamsInvalid, UnknownType
from gateway.runtime import Runtime
from gateway.security.scopes import Scope

SELECT = f"""
SELECT {library.COLUMNS}, r.content, r.number,
    (SELECT count(*) FROM policy_activation a WHERE a.policy_id = p.id AND a.effective_from > :now
        AND a.withdrawn_at IS NULL) AS coming
{library.FROM} LEFT JOIN ({library.EFFECTIVE.replace(":at", ":now")}) AS standing ON standing.policy_id = p.id
    LEFT JOIN policy_revision r ON r.policy_id = p.id AND r.number = standing.revision
ORDER BY p.name
"""
OWN = ("name", "type", "brand", "locked", "in_force")
READ_FIRST = ("mode", "order", "scope", "on_error", "on_uncovered", "on_timeout", "params")


class PolicyFile(NewPolicy):
    """A policy as it is to be in force."""

    in_force: bool = True
    """False: it is kept as a draft, and out of force."""


class Policies(Kind[PolicyFile]):
    """What is in force. One that no file names is taken out of force and put away when pruning; revisions stay."""

    folder = "policies"
    noun = "policy"
    Model = PolicyFile
    scopes = (Scope.policies_draft, Scope.policies_activate)
    table = "policy"
    removal = "archive"
    reasoned = True

    async def stored(self, connection: AsyncConnection, runtime: Runtime) -> list[Stored]:
        rows = await fetch_all(connection, SELECT, now=runtime.now())
        return [
            Stored(
                row["name"],
                _content(runtime, row),
                row,
                f"{row['version']}:{row['number']}:{row['coming']}",
                away=row["archived_at"] is not None,
            )
            for row in rows
        ]

    async def want(
        self, given: PolicyFile, file: str, stored: Stored | None, ground: Ground, faults: Faults
    ) -> Wanted[PolicyFile] | None:
        if given.brand is not None:
            if not ground.knows("brands", given.brand):
                faults.add(file, "brand", f"there is no brand {given.brand}", ground.known("brands"))
            if given.locked:
                faults.add(file, "locked", "only a policy for all brands can be locked", "leave it out")
        if stored is not None:
            for name in ("type", "brand"):
                if getattr(given, name) != stored.content[name]:
                    put_away = ", which was put away" if stored.away else ""
                    message = f"cannot be changed: {stored.key}{put_away} has {stored.content[name] or 'none'}"
                    faults.add(file, name, message, "give the new one a name of its own")
        try:
            content = checked_content(ground.runtime, given.type, content_of(given))
        except Problem as problem:
            faults.absorb(file, problem)
            return None
        document = content.model_dump(mode="json")
        wanted = Wanted(given.name, file, given, {**{name: getattr(given, name) for name in OWN}, **document})
        _note_names(wanted, ground)
        if stored is not None and wanted.content != stored.content:
            await self._try(stored, wanted, content, ground, faults)
            if stored.row["draft"] not in (document, stored.row["content"]):
                ground.notes.append(f"{file}: the draft of {given.name}, which says something else, is overwritten")
            if stored.row["coming"]:
                ground.notes.append(f"{file}: what is scheduled for {given.name} comes into force all the same")
        return wanted

    async def _try(
        self, stored: Stored, wanted: Wanted[PolicyFile], content: Content, ground: Ground, faults: Faults
    ) -> None:
        """What fails a case kept with the policy does not come into force."""
        cases = await trial.cases_of(ground.connection, stored.id)
        if not cases or not wanted.given.in_force:
            return
        active = trial.active_of(ground.runtime.registry, wanted.key, wanted.given.type, 0, content, wanted.given.brand)
        for failing in await trial.failing(ground.runtime.sandbox, active, cases):
            message = f"fails the case {failing.name} that is kept with it: {', '.join(failing.misses)}"
            faults.add(wanted.file, "params", message, "mend the policy, or change the case")

    def written(self, stored: Stored) -> dict[str, Any]:
        understood = {**defaults_of(Content), "brand": None, "locked": False, "in_force": True, "params": {}}
        del understood["mode"]
        content = {name: stored.content[name] for name in (*OWN, *READ_FIRST)}
        content = without(content, understood)
        for name in ("scope", "on_timeout"):
            if name in content:
                content[name] = without(content[name], understood[name])
        return content

    async def create(self, work: Work, wanted: Wanted[PolicyFile]) -> None:
        given = wanted.given
        brand = await fetch_all(work.connection, "SELECT id FROM brand WHERE name = :name", name=given.brand)
        try:
            id = await library.create(
                work.connection,
                name=given.name,
                type=given.type,
                content=_content_of(wanted),
                now=work.now,
                brand_id=brand[0]["id"] if brand else None,
                locked=given.locked,
            )
        except NotPossible as error:
            raise conflict(str(error), field="name") from error
        if given.in_force:
            await self._enforce(work, id)

    async def change(self, work: Work, stored: Stored, wanted: Wanted[PolicyFile]) -> None:
        given = wanted.given
        if stored.away:
            await library.bring_back(work.connection, stored.id)
        await library.change(work.connection, stored.id, draft=_content_of(wanted), locked=given.locked)
        if given.in_force:
            await self._enforce(work, stored.id)
        elif stored.content["in_force"]:
            _activations(work).append(Activation(stored.id, None))

    async def _enforce(self, work: Work, id: Any) -> None:
        number = await library.revise(work.connection, id, reason=work.reason, author=work.author, now=work.now)
        _activations(work).append(Activation(id, number))

    def removable(self, stored: Stored) -> bool:
        return not stored.away

    async def check_removal(self, stored: Stored, ground: Ground, faults: Faults) -> None:
        if stored.row["coming"]:
            message = f"the policy {stored.key} has no file, and comes into force as scheduled"
            faults.add("", "", message, "add one, or POST /v1/policies/activations/{id}/withdraw")

    async def remove(self, work: Work, stored: Stored) -> None:
        if stored.content["in_force"]:
            _activations(work).append(Activation(stored.id, None))
        await library.change(work.connection, stored.id, archived=work.now)

    async def finish(self, work: Work) -> None:
        """All of them come into force, and go out of it, at one moment."""
        items = _activations(work)
        if not items:
            return
        await refuse_failing(work.connection, work.runtime, [one for one in items if one.revision is not None])
        try:
            await library.activate(work.connection, items, reason=work.reason, author=work.author, now=work.now)
        except NotPossible as error:
            raise conflict(str(error)) from error


def _content(runtime: Runtime, row: Row) -> dict[str, Any]:
    content = Content.model_validate(row["content"] or row["draft"])
    # one whose code is gone, or wants something else by now, is told as it is kept
    with contextlib.suppress(UnknownType, ParamsInvalid):
        content = library.checked(runtime.registry, row["type"], content)
    return {
        **{name: row[name] for name in ("name", "type", "brand", "locked")},
        "in_force": row["content"] is not None,
        **content.model_dump(mode="json"),
    }


def _content_of(wanted: Wanted[PolicyFile]) -> Content:
    return Content.model_validate({name: wanted.content[name] for name in Content.model_fields})


def _activations(work: Work) -> list[Activation]:
    found: list[Activation] = work.prepared.setdefault("activations", [])
    return found


def _note_names(wanted: Wanted[PolicyFile], ground: Ground) -> None:
    """Names of things that there are not: REST takes them too, since they may come later."""
    scope = wanted.content["scope"]
    sources = {key.removeprefix("source ") for key in ground.stored.get("connections", {})}
    sources |= {str(given.name) for given in ground.given.get("connections", {}).values()}  # type: ignore[attr-defined]
    named = [
        *(("brand", name, ground.knows("brands", name)) for name in scope["brands"]),
        *(("connection", name, name in sources) for name in scope["connections"]),
        *(
            ("calendar", name, name == "always" or ground.knows("calendars", name))
            for name in sorted(set(calendars_in(wanted.content)))
        ),
    ]
    for noun, name, known in named:
        if not known:
            ground.notes.append(f"{wanted.file}: there is no {noun} {name}")


def calendars_in(content: Any) -> Iterator[str]:
    """The names of calendars that a policy goes by."""
    if isinstance(content, Mapping):
        for name, value in content.items():
            if name == "calendar" and isinstance(value, str):
                yield value
            else:
                yield from calendars_in(value)
    elif isinstance(content, list):
        for member in content:
            yield from calendars_in(member)
