"""Exporting: what is kept as files, always the same for the same configuration."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gateway.configuration.apply import snapshot
from gateway.configuration.documents import Document, read_tree, render
from gateway.configuration.kinds import file_names
from gateway.configuration.plan import Bundle, ConfigurationInvalid, Examined, examine
from gateway.configuration.registry import all_kinds, folders
from gateway.configuration.secrets import Namer, look_up, placeholder_of, placeholders
from gateway.runtime import Runtime

PREFIXES = {"connections": ""}
"""What the names of secrets begin with, where that is not the kind's name: connections' files say it already."""


@dataclass(frozen=True)
class Exported:
    """One thing and its document."""

    kind: str
    key: str
    document: Document


@dataclass
class Written:
    """What became of a folder."""

    files: list[str] = field(default_factory=list)
    """Written anew."""
    same: int = 0
    """Files that say what is kept already; their comments and their order stay."""
    left: list[str] = field(default_factory=list)
    """Files of things that there are not (any more)."""
    removed: list[str] = field(default_factory=list)


async def export(runtime: Runtime, used: Iterable[str] = ()) -> list[Exported]:
    """Everything that is kept, in the order of the kinds. Secrets are placeholders, whose names are none of `used`."""
    found: list[Exported] = []
    namer = Namer(used)
    async with snapshot(runtime) as connection:
        for kind in all_kinds():
            kept = [one for one in await kind.stored(connection, runtime) if not one.away]
            names = file_names(kind.file_of(one) for one in kept)
            for stored in kept:
                name = names[kind.file_of(stored)]
                prefix = "_".join(filter(None, (PREFIXES.get(kind.folder, kind.noun), name)))
                content = {
                    # of a configuration's secrets the name says the field alone
                    part: namer.replaced(value, prefix if part == "config" else f"{prefix}_{part}")
                    for part, value in kind.written(stored).items()
                }
                document = Document(kind.folder, content, f"{kind.folder}/{name}.yaml")
                found.append(Exported(kind.folder, stored.key, document))
    return found


async def export_to(runtime: Runtime, folder: Path, *, prune: bool = False) -> Written:
    """Bring a folder up to date with what is kept.

    A file that says the same already is not touched, one that does not keeps its place and its placeholders. With
    `prune` files of things that there are not are removed. Raises ConfigurationInvalid for files that cannot be read.
    """
    tree = read_tree(folder, folders())
    if tree.errors:
        raise ConfigurationInvalid(tree.errors)
    contents = [document.content for document in tree.documents]
    values = look_up(contents, folder)
    exported = await export(runtime, {one.name for one in placeholders(contents)})
    async with snapshot(runtime) as connection:
        examined = await examine(connection, runtime, Bundle(tree.documents, values))
    old = {document.file: document for document in tree.documents}
    stale = _stale(examined)
    written, taken = Written(), set(old)
    for one in exported:
        file = examined.files.get((one.kind, one.key))
        if file is not None and file not in stale:
            written.same += 1
            continue
        content = one.document.content
        if file is not None:
            content = _with_placeholders(content, old[file].content, values)
        else:
            file = _free(one.document.file, taken)
            taken.add(file)
        _write(folder / file, render(content))
        written.files.append(file)
    kept = {(one.kind, one.key) for one in exported}
    named = {file: thing for thing, file in examined.files.items()}
    written.left = sorted(file for file in old if named.get(file) not in kept)
    if prune:
        for file in written.left:
            (folder / file).unlink()
        written.left, written.removed = [], written.left
    return written


def _stale(examined: Examined) -> set[str]:
    """Files that say something else than what is kept, or that make no sense any more."""
    faulty = {(one.file or "").rpartition(":")[0] or one.file or "" for one in examined.errors}
    return {change.file for change in examined.plan.changes} | faulty | {one.file or "" for one in examined.errors}


def _with_placeholders(new: Any, old: Any, values: Mapping[str, str]) -> Any:
    """A document with the placeholders that stood in its place before, for secrets and for what they still give."""
    if (one := placeholder_of(old)) is not None:
        return old if placeholder_of(new) is not None or values.get(one.name) == new else new
    if isinstance(new, Mapping) and isinstance(old, Mapping) and placeholder_of(new) is None:
        return {name: _with_placeholders(value, old.get(name), values) for name, value in new.items()}
    if isinstance(new, list) and isinstance(old, list):
        pairs = [(value, old[number] if number < len(old) else None) for number, value in enumerate(new)]
        return type(new)(_with_placeholders(value, before, values) for value, before in pairs)
    return new


def _free(file: str, taken: set[str]) -> str:
    stem, number = file.removesuffix(".yaml"), 2
    while file in taken:
        file, number = f"{stem}-{number}.yaml", number + 1
    return file


def _write(path: Path, text: str) -> None:
    """Whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(text, "utf-8", newline="\n")
    draft.replace(path)
