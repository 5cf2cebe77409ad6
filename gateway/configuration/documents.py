"""Files of a configuration: one YAML file for each thing, in a folder for each kind.

Read as YAML 1.2 (its core schema), so that `no` is a word and `10:00` no number; written so that readers of YAML 1.1
take it the same way. Anchors, tags and repeated names are refused: what a file says must be seen in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from gateway.api.problems import FieldError

Place = tuple[str | int, ...]
"""Where something stands in a document: names of mappings, numbers of lists."""

LARGEST = 8 * 1024 * 1024
"""Bytes of one file."""
SUFFIXES = (".yaml", ".yml")
WIDTH = 110
PLAIN_TAGS = frozenset(f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null", "map", "seq"))
# what YAML 1.1 makes of plain words that are only words to YAML 1.2
OLDER_TAGS = frozenset(f"tag:yaml.org,2002:{name}" for name in ("timestamp", "merge", "value"))
NULL = re.compile(r"|~|null|Null|NULL")
TRUE = re.compile(r"true|True|TRUE")
FALSE = re.compile(r"false|False|FALSE")
INTEGER = re.compile(r"[-+]?[0-9]+")
OCTAL = re.compile(r"0o([0-7]+)")
HEXADECIMAL = re.compile(r"0x([0-9a-fA-F]+)")
DECIMAL = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")


@dataclass(frozen=True)
class Document:
    """One thing as a file says it."""

    kind: str
    """The folder's name: `brands`."""
    content: Mapping[str, Any]
    file: str
    """The path within the folder of all: `brands/acme.yaml`."""
    lines: Mapping[Place, int] = field(default_factory=dict, repr=False, compare=False)
    """Where each field stands, counted from 1; of documents that came over REST nothing is known."""

    def at(self, path: str) -> str:
        """The file with the line of a field, or of the nearest one round it that is written down."""
        place: Place = tuple(map(_part, path.split("."))) if path else ()
        while place not in self.lines and place:
            place = place[:-1]
        line = self.lines.get(place)
        return f"{self.file}:{line}" if line else self.file


def _part(word: str) -> str | int:
    return int(word) if word.isascii() and word.isdecimal() and len(word) < 10 else word


class Unreadable(Exception):
    """A file is no document; the message says what is wrong, `line` where."""

    def __init__(self, message: str, line: int | None = None, fix: str | None = None) -> None:
        super().__init__(message)
        self.line = line
        self.fix = fix


def parse(text: str) -> tuple[dict[str, Any], dict[Place, int]]:
    """The document of a file and where its fields stand. Raises Unreadable."""
    loader = yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise Unreadable(f"is no YAML: {error.problem or error}", mark.line + 1 if mark else None) from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise Unreadable(f"is no YAML: {str(error).splitlines()[0] or type(error).__name__}") from None
    finally:
        loader.dispose()
    if not isinstance(node, yaml.MappingNode):
        raise Unreadable("holds no names with values", fix="write `name: …` and so on")
    lines: dict[Place, int] = {}
    content: dict[str, Any] = _value(node, (), lines, set())
    return content, lines


def _value(node: yaml.Node, place: Place, lines: dict[Place, int], seen: set[int]) -> Any:
    line = node.start_mark.line + 1
    lines.setdefault(place, line)
    if id(node) in seen:
        raise Unreadable("an alias (*name) is not taken", lines[place], "write it out")
    seen.add(id(node))
    if node.tag not in PLAIN_TAGS | OLDER_TAGS:
        raise Unreadable(f"the tag {node.tag} is not known", line, "leave it out")
    if isinstance(node, yaml.MappingNode):
        found: dict[str, Any] = {}
        for name, value in node.value:
            line = name.start_mark.line + 1
            if not isinstance(name, yaml.ScalarNode):
                raise Unreadable("a name must be a word", line)
            if name.value in found:
                raise Unreadable(f"{name.value} is there twice", line, "leave one of them out")
            lines[*place, name.value] = line
            found[name.value] = _value(value, (*place, name.value), lines, seen)
        return found
    if isinstance(node, yaml.SequenceNode):
        return [_value(one, (*place, number), lines, seen) for number, one in enumerate(node.value)]
    assert isinstance(node, yaml.ScalarNode)
    return _scalar(node.value) if node.style is None else node.value


def _scalar(text: str) -> Any:
    if NULL.fullmatch(text):
        return None
    if TRUE.fullmatch(text) or FALSE.fullmatch(text):
        return text.lower() == "true"
    if len(text) < 400:  # Python refuses to read numbers of thousands of digits
        if INTEGER.fullmatch(text):
            return int(text)
        if match := OCTAL.fullmatch(text):
            return int(match[1], 8)
        if match := HEXADECIMAL.fullmatch(text):
            return int(match[1], 16)
        if DECIMAL.fullmatch(text):
            return float(text)
    return text


class _Dumper(yaml.SafeDumper):
    """Lists stand under their name, and texts of several lines as they are."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = None
    if "\n" in text:
        style = "|" if all(_readable(line) for line in text.split("\n")) else '"'
    elif not text.isprintable() or not isinstance(_scalar(text), str):
        style = '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style)


def _readable(line: str) -> bool:
    return line.isprintable() and not line.endswith(" ")


class OneLine(list[Any]):
    """A short list that is written on one line."""


_Dumper.add_representer(str, _text)
_Dumper.add_representer(
    OneLine, lambda dumper, items: dumper.represent_sequence("tag:yaml.org,2002:seq", items, flow_style=True)
)


def render(content: Mapping[str, Any]) -> str:
    """A document as the text of its file: always the same for the same document."""
    text: str = yaml.dump(
        dict(content),
        Dumper=_Dumper,
        allow_unicode=True,
        default_flow_style=False,
        sort_keys=False,
        width=WIDTH,
    )
    return text


@dataclass
class Tree:
    """The documents of a folder."""

    documents: list[Document]
    errors: list[FieldError]


def read_tree(folder: Path, kinds: Sequence[str]) -> Tree:
    """Read every file below the folders of these kinds. A file or folder that is none of them is an error, but for
    hidden ones and those that are not YAML, such as a README."""
    tree = Tree([], [])
    for path in _files(folder):
        file = path.relative_to(folder).as_posix()
        kind = file.split("/", 1)[0]
        if kind not in kinds or "/" not in file:
            message = "lies in the folder of no kind"
            tree.errors.append(FieldError(field="", message=message, fix=f"there are {', '.join(kinds)}", file=file))
            continue
        try:
            if path.stat().st_size > LARGEST:
                raise Unreadable(f"has more than {LARGEST} bytes")
            content, lines = parse(path.read_text("utf-8"))
        except UnicodeDecodeError:
            tree.errors.append(FieldError(field="", message="is no UTF-8 text", file=file))
        except Unreadable as error:
            where = f"{file}:{error.line}" if error.line else file
            tree.errors.append(FieldError(field="", message=str(error), fix=error.fix, file=where))
        else:
            tree.documents.append(Document(kind, content, file, lines))
    return tree


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        if path.suffix in SUFFIXES and path.is_file() and not any(part.startswith(".") for part in parts):
            yield path
