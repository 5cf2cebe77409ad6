"""The table of installed plugins, from their classes."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterable
from datetime import timedelta
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pluggy

from gateway_schemas import hookspecs
from gateway_schemas.authoring.package import HOOKS, Registered
from gateway_schemas.authoring.report import FILE
from gateway_schemas.capabilities import HelpdeskCapabilities, SourceCapabilities

_SOURCE = (
    *("source", "level", "takes in", "by", "answers", "in private", "changes them", "deletes them", "files"),
    *("longest answer", "slot"),
)
_HELPDESK = (
    *("helpdesk", "level", "by", "changes a call", "comments a change", "makes private", "follow-ups"),
    "certain after",
)
_POLICY = ("type", "level", "title", "new installations", "judges manners", "what it does")


def installed() -> list[Registered]:
    """Every class that an installed plugin registers, by role and name."""
    found = []
    for entry in sorted(entry_points(group=hookspecs.ENTRY_POINTS), key=str):
        manager = pluggy.PluginManager(hookspecs.PROJECT)
        manager.add_hookspecs(hookspecs)
        manager.register(entry.load(), name=entry.name)
        for role, hook in HOOKS.items():
            found += [Registered(role, cls) for classes in getattr(manager.hook, hook)() for cls in classes or ()]
    return sorted(found, key=lambda one: (one.role, one.name))


def plugins_page() -> str:
    """The page, in Markdown."""
    by_role: dict[str, list[Registered]] = {}
    for one in installed():
        by_role.setdefault(one.role, []).append(one)
    lines = [
        "# Plugins and what they can do",
        "",
        "Of a plugin whose configuration decides, this is the most that it can do. Levels are those of the",
        "[quality list](reference/quality.md).",
        "",
        "## Sources",
        "",
        *_table(_SOURCE, (_source(one) for one in by_role.get("source", ()))),
        "",
        "## Helpdesks",
        "",
        *_table(_HELPDESK, (_helpdesk(one) for one in by_role.get("helpdesk", ()))),
        "",
        "## Policies",
        "",
        *_table(
            _POLICY,
            (_policy(one) for one in by_role.get("policy", ())),
        ),
        "",
    ]
    others = [one for role in ("reader", "enricher") for one in by_role.get(role, ())]
    if others:
        rows = ((f"`{one.name}`", one.role, _first(one.cls.__doc__)) for one in others)
        lines += ["## Readers and enrichers", "", *_table(("name", "role", ""), rows), ""]
    return "\n".join(lines)


def level_of(cls: type[Any]) -> str:
    """The level that the plugin carries in its `quality.json`, where it is installed from its folder."""
    package = importlib.import_module(cls.__module__.partition(".")[0])
    for folder in package.__path__:
        path = Path(folder).parent / FILE
        if path.is_file():
            return str(json.loads(path.read_text("utf-8"))["level"] or "none")
    return ""


def _source(one: Registered) -> tuple[str, ...]:
    can: SourceCapabilities = one.cls.capabilities
    limits = {f"{text.limit:,} {text.counting.value.replace('_', ' ')}" for text in can.text.values()}
    return (
        _named(one),
        level_of(one.cls),
        ", ".join(sorted(can.kinds)).replace("_", " "),
        _ways(can.webhook, can.poll, can.listen),
        _yes(can.reply),
        _yes(can.private),
        _yes(can.edit),
        _yes(can.delete),
        _yes(can.media),
        ", ".join(sorted(limits)),
        "one" if can.one_slot else "",
    )


def _helpdesk(one: Registered) -> tuple[str, ...]:
    can: HelpdeskCapabilities = one.cls.capabilities
    return (
        _named(one),
        level_of(one.cls),
        _ways(can.webhook, can.poll, False),
        str(can.bulk),
        str(can.comments_per_change),
        _yes(can.make_private),
        _yes(can.followup),
        "never" if can.index_lag is None else _span(can.index_lag),
    )


def _policy(one: Registered) -> tuple[str, ...]:
    cls = one.cls
    return (f"`{one.name}`", level_of(cls), cls.title, cls.default_mode, _yes(cls.tone), cls.description)


def _named(one: Registered) -> str:
    return f"`{one.name}`" + (f" {one.cls.title}" if one.cls.title else "")


def _ways(webhook: bool, poll: bool, listen: bool) -> str:
    return ", ".join(word for word, has in (("webhook", webhook), ("poll", poll), ("stream", listen)) if has)


def _yes(can: bool) -> str:
    return "yes" if can else ""


def _span(span: timedelta) -> str:
    return "at once" if not span else f"{span.total_seconds():g} s"


def _first(text: str | None) -> str:
    return " ".join((text or "").partition(". ")[0].rstrip(".").split())


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[str]:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return lines + ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
