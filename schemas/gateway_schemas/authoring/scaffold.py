"""Writes a new plugin that works at once: `gateway plugin new acme --kind source`.

The templates are a whole plugin each, for an imaginary provider, with `acme` where the name goes: what is written is
what was tested, letter by letter. Nothing that is there already is overwritten.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

KINDS = ("source", "helpdesk", "policy")
SUFFIX = ".tmpl"
_NAME = re.compile(r"[a-z][a-z0-9]*(?:_[a-z0-9]+)*")


class BadName(ValueError):
    """The name cannot be a plugin's. The message says why, and what can."""


def names(name: str) -> dict[str, str]:
    """What stands for what in the templates. Raises BadName."""
    if not _NAME.fullmatch(name) or keyword.iskeyword(name) or name == "schemas":
        raise BadName(f"{name!r} cannot be a plugin's name: small letters, digits and single underscores (my_forum)")
    words = name.split("_")
    return {
        "acme-dist": name.replace("_", "-"),
        "acme": name,
        "Acme": "".join(word[:1].upper() + word[1:] for word in words),
        "The Acme": " ".join(word[:1].upper() + word[1:] for word in words),
    }


def scaffold(name: str, kind: str, folder: Path) -> list[Path]:
    """Write a plugin of that kind into `folder`, which may be there; gives the files, in order.

    Raises BadName, and FileExistsError when a file that would be written is there.
    """
    made = dict(rendered(name, kind))
    taken = [path for path in made if (folder / path).exists()]
    if taken:
        raise FileExistsError(f"{folder / taken[0]} is there already; choose another folder with --out")
    for path, content in made.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    return [folder / path for path in made]


def rendered(name: str, kind: str) -> Iterator[tuple[str, bytes]]:
    """Relative path and content of every file of a new plugin."""
    known = names(name)
    pattern = re.compile("|".join(map(re.escape, sorted(known, key=len, reverse=True))))

    def filled(text: str) -> str:
        return pattern.sub(lambda found: known[found[0]], text)

    root = files("gateway_schemas.authoring").joinpath("templates", kind)
    for path, template in _walk(root, ""):
        target = "/".join(part.replace("dot.", ".", 1) if part.startswith("dot.") else part for part in path.split("/"))
        yield filled(target.removesuffix(SUFFIX)), filled(template.read_bytes().decode("utf-8")).encode("utf-8")


def _walk(folder: Traversable, path: str) -> Iterator[tuple[str, Traversable]]:
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if entry.is_dir():
            yield from _walk(entry, f"{path}{entry.name}/")
        elif entry.name.endswith(SUFFIX):
            yield f"{path}{entry.name}", entry
