"""`gateway plan`, `gateway apply` and `gateway export`: on the installation's database, whether it serves or not."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import typer

from gateway.api.configuration import view_of
from gateway.api.problems import FieldError, Problem
from gateway.configuration.apply import Applied, ChangedMeanwhile, apply, plan_for
from gateway.configuration.documents import Tree, read_tree
from gateway.configuration.export import export_to
from gateway.configuration.plan import Bundle, Change, ConfigurationInvalid, Difference, Plan
from gateway.configuration.registry import folders
from gateway.configuration.secrets import look_up
from gateway.runtime import open_runtime
from gateway.security.audit.origin import at_the_command_line
from gateway.settings import Settings

NOTHING, INVALID, CHANGES = 0, 1, 2
SIGNS = {"create": "+", "change": "~", "archive": "-", "delete": "-", "pause": "-"}
SAID = {"archive": "is taken out of force and put away", "delete": "is deleted", "pause": "is paused"}


@dataclass(frozen=True)
class Wish:
    """What `gateway apply` was asked for."""

    folder: Path
    prune: bool = False
    reason: str = ""
    yes: bool = False
    digest: str | None = None
    as_json: bool = False


async def run_plan(settings: Settings, folder: Path, *, prune: bool = False, as_json: bool = False) -> int:
    """Called by `gateway plan`: the exit code."""
    try:
        tree, bundle = _read(folder, prune)
        async with open_runtime(settings) as runtime:
            plan = await plan_for(runtime, bundle, tree.errors)
    except Problem as problem:
        return _refused(problem, as_json)
    _show(plan, as_json)
    return CHANGES if plan.changes else NOTHING


async def run_apply(settings: Settings, wish: Wish) -> int:
    """Called by `gateway apply`: the exit code."""
    try:
        tree, bundle = _read(wish.folder, wish.prune)
        async with open_runtime(settings) as runtime:
            plan = await plan_for(runtime, bundle, tree.errors)
            if wish.digest not in (None, plan.digest):
                _show(plan, wish.as_json)
                typer.echo("The plan is another one than that of --digest; nothing was applied.", err=True)
                return CHANGES
            if not plan.changes:
                _show(plan, wish.as_json)
                return NOTHING
            if not wish.as_json or not wish.yes:
                _show(plan, wish.as_json)
            reason = wish.reason
            if not wish.yes and not _agreed():
                return CHANGES
            if plan.needs_reason and not reason and not wish.yes:
                reason = typer.prompt("Why? Everybody who meets the policies reads it")
            on_record = replace(runtime, database=runtime.audit.on_record(at_the_command_line("apply_configuration")))
            applied = await apply(on_record, bundle, digest=plan.digest, reason=reason, caller=None)
    except ChangedMeanwhile as error:
        _show(error.plan, wish.as_json)
        typer.echo(str(error), err=True)
        return CHANGES
    except Problem as problem:
        return _refused(problem, wish.as_json)
    _applied(applied, wish.as_json)
    return NOTHING


async def run_export(settings: Settings, folder: Path, *, prune: bool = False) -> int:
    """Called by `gateway export`: the exit code."""
    try:
        async with open_runtime(settings) as runtime:
            written = await export_to(runtime, folder, prune=prune)
    except Problem as problem:
        return _refused(problem, False)
    for file in written.files:
        typer.echo(f"written  {file}")
    for file in written.removed:
        typer.echo(f"removed  {file}")
    for file in written.left:
        typer.echo(f"left     {file}: there is no such thing (any more); --prune removes the file")
    typer.echo(f"{len(written.files)} written, {written.same} as they were.")
    return NOTHING


def _read(folder: Path, prune: bool) -> tuple[Tree, Bundle]:
    if not folder.is_dir():
        error = FieldError(field="", message="is no folder", fix="gateway export DIR makes one", file=str(folder))
        raise ConfigurationInvalid([error])
    tree = read_tree(folder, folders())
    try:
        values = look_up([document.content for document in tree.documents], folder)
    except (OSError, UnicodeDecodeError) as error:
        name = getattr(error, "filename", None) or "a file of a placeholder"
        wrong = FieldError(field="", message=f"cannot be read: {getattr(error, 'strerror', error)}", file=str(name))
        raise ConfigurationInvalid([*tree.errors, wrong]) from error
    return tree, Bundle(tree.documents, values, prune)


def _agreed() -> bool:
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        typer.echo("Nothing was applied: nobody can be asked here. --yes applies without asking.", err=True)
        return False
    return typer.confirm("Apply this?", default=False)


def _show(plan: Plan, as_json: bool) -> None:
    if as_json:
        typer.echo(view_of(plan).model_dump_json(by_alias=True, indent=2))
        return
    for line in told(plan):
        typer.echo(line)


def told(plan: Plan) -> Iterator[str]:
    """A plan in words, line by line."""
    for change in plan.changes:
        yield from _told_change(change)
    if plan.changes:
        yield ""
    for note in plan.notes:
        yield f"Note: {note}"
    if plan.kept:
        yield f"Secrets without a value here stay as they are stored: {', '.join(plan.kept)}"
    if plan.unnamed:
        yield f"No file names these, which stay: {', '.join(plan.unnamed)}"
    counted = Counter({"create": "create", "change": "change"}.get(one.action, "remove") for one in plan.changes)
    if plan.changes:
        yield (
            f"Plan: {counted['create']} to create, {counted['change']} to change, {counted['remove']} to remove; "
            f"{plan.unchanged} as they are. Digest {plan.digest}"
        )
    else:
        yield f"Nothing to change: {plan.unchanged} as they are."


def _told_change(change: Change) -> Iterator[str]:
    name = change.key if change.kind.folder == "connections" else f"{change.kind.noun} {change.key}"
    said = SAID.get(change.action)
    yield f"{SIGNS[change.action]} {name} {said}" if said else f"{SIGNS[change.action]} {name}  ({change.file})"
    for one in change.differences:
        yield from _told_difference(one, new=change.action == "create")


def _told_difference(one: Difference, *, new: bool) -> Iterator[str]:
    if not new and _is_list(one.before) and _is_list(one.after):
        before, after = dict.fromkeys(map(_word, one.before)), dict.fromkeys(map(_word, one.after))
        gone, come = [word for word in before if word not in after], [word for word in after if word not in before]
        if gone or come:
            yield f"    {one.field}:"
            yield from (f"      - {word}" for word in gone)
            yield from (f"      + {word}" for word in come)
            return
    yield f"    {one.field}: {'' if new else f'{_word(one.before)} → '}{_word(one.after)}"


def _is_list(value: Any) -> bool:
    return isinstance(value, list)


def _word(value: Any) -> str:
    return value if isinstance(value, str) and value.startswith("(") else json.dumps(value, ensure_ascii=False)


def _applied(applied: Applied, as_json: bool) -> None:
    if as_json:
        document = {"plan": view_of(applied.plan).model_dump(mode="json", by_alias=True), "next": applied.next}
        typer.echo(json.dumps(document, indent=2, ensure_ascii=False))
        return
    typer.echo("Applied.")
    for one in applied.next:
        typer.echo(f"Next: {one}")


def _refused(problem: Problem, as_json: bool) -> int:
    if as_json:
        typer.echo(bytes(problem.response().body).decode("utf-8"))
        return INVALID
    for line in _errors(problem.errors) or [str(problem.detail)]:
        typer.echo(line, err=True)
    return INVALID


def _errors(errors: Sequence[FieldError]) -> list[str]:
    return [
        ": ".join(filter(None, (one.file, one.field, one.message))) + (f" ({one.fix})" if one.fix else "")
        for one in errors
    ]
