"""The kinds of events as a page: `python -m gateway.api.event_docs [--check] docs/events.md`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from gateway.events.kinds import KINDS, Kind, Part, Texts

HEAD = """\
<!-- written by `python -m gateway.api.event_docs docs/events.md` -->
# Events

What [subscriptions](subscriptions.md) can be told of. `GET /v1/event-kinds` gives the same with a JSON Schema of each
body. Every body is `{"type": …, "timestamp": …, "data": …}`; in `data` are the fields of the kind and, under the
heading it names, those of what it is about. Fields are added in the course of time: ignore those you do not know.
"""


def render() -> str:
    """The page."""
    facts = list(dict.fromkeys(kind.facts for kind in KINDS.values() if kind.facts.model_fields))
    return "\n".join(
        [
            HEAD,
            "| kind | is told when | is about | says besides | texts, with `include_text` |",
            "|---|---|---|---|---|",
            *(_row(kind) for kind in KINDS.values()),
            "",
            *(line for part in facts for line in _section(part)),
            *_section(Texts, "`data.texts`, for subscriptions that ask for it. "),
        ]
    )


def _row(kind: Kind) -> str:
    own = ", ".join(f"`{name}`" for name in kind.news.model_fields) or "–"
    texts = ", ".join(f"`{name}`" for name in kind.texts) or "–"
    about = f"[{_title(kind.facts)}](#{_title(kind.facts)})" if kind.facts.model_fields else kind.subject
    return f"| `{kind.name}` | {kind.meaning} | {about} | {own} | {texts} |"


def _title(part: type[Part]) -> str:
    return part.__name__.removesuffix("Facts").lower()


def _section(part: type[Part], before: str = "") -> Iterator[str]:
    yield f"## {_title(part)}"
    yield ""
    yield f"{before}{' '.join((part.__doc__ or '').split())}"
    yield ""
    yield "| field | type | |"
    yield "|---|---|---|"
    properties = part.model_json_schema(mode="serialization")["properties"]
    for name, field in part.model_fields.items():
        yield f"| `{name}` | {_type(properties[name])} | {' '.join((field.description or '').split())} |"
    yield ""


def _type(schema: dict[str, object]) -> str:
    options = schema.get("anyOf")
    if isinstance(options, list):
        return " or ".join(_type(one) for one in options)
    if schema.get("type") == "array":
        items = schema.get("items")
        return f"list of {_type(items)}" if isinstance(items, dict) else "list"
    return str(schema.get("format") or schema.get("type") or "any")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m gateway.api.event_docs", description="Write the page of events.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when the file is not up to date")
    parser.add_argument("file", type=Path, help="where it lies, for example docs/events.md")
    options = parser.parse_args(arguments)
    file: Path = options.file
    if not options.check:
        file.write_text(render(), "utf-8")
        return 0
    if file.exists() and file.read_text("utf-8") == render():
        return 0
    print(f"{file} is not up to date; run: python -m gateway.api.event_docs {file}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
