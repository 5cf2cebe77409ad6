"""The kinds of events as a page: `python -m gateway.api.event_docs [--check] docs/events.md`."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence

from gateway.api.written import write_or_check
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
    return write_or_check("gateway.api.event_docs", "Write the page of events.", "docs/events.md", render, arguments)


if __name__ == "__main__":
    sys.exit(main())
