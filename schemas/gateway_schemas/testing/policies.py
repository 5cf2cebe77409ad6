"""What tests of policies need: cases in one line, and a reader that finds what it is told to find."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar, Literal

from gateway_schemas.decision import Case, TimelineEntry
from gateway_schemas.interaction import Author, Interaction, ReplyTarget
from gateway_schemas.reading import Coverage, Mark, Promised, Reader, Reading
from gateway_schemas.reply import Rendered

NOON = datetime(2026, 3, 12, 12, tzinfo=UTC)


class ToldReader(Reader):
    """Finds in a text the words it is told of: `{"sorry": "apologises"}`. Promises are told as words and due times, and
    of which words it is not sure by themselves."""

    name: ClassVar[str] = "told"
    version: ClassVar[str] = "1"
    languages: ClassVar[dict[str, Coverage]] = {"en": "full"}

    def __init__(
        self,
        words: Mapping[str, str] | None = None,
        promises: Mapping[str, datetime | None] | None = None,
        coverage: Coverage = "full",
        unsure: Collection[str] = (),
    ) -> None:
        self.words = words or {}
        self.unsure = unsure
        self.promises = promises or {}
        self.coverage: Coverage = coverage

    def read(
        self,
        text: str,
        *,
        speaker: Literal["brand", "customer"],
        at: datetime,
        language: str | None = None,
        visibility: Literal["public", "private"] = "public",
        timezone: str = "UTC",
    ) -> Reading:
        """The marks of the words that are in the text."""
        marks = [
            Mark(signal=signal, start=start, end=start + len(word), text=word, sure=word not in self.unsure)
            for word, signal in self.words.items()
            if (start := text.find(word)) >= 0
        ]
        promises = [
            Promised(quote=quote, start=start, end=start + len(quote), due=due)
            for quote, due in self.promises.items()
            if (start := text.find(quote)) >= 0
        ]
        return Reading(
            language=language or "en",
            coverage=self.coverage,
            marks=tuple(sorted(marks, key=lambda mark: mark.start)),
            promises=tuple(promises),
        )


def message(text: str = "my parcel is late", **changes: Any) -> Interaction:
    """A customer's public post."""
    values: dict[str, Any] = {
        "external_id": "m1",
        "revision": "1",
        "account": "brand",
        "kind": "post",
        "visibility": "public",
        "author": Author(external_id="rita", handle="rita"),
        "text": text,
        "language": "en",
        "published_at": NOON,
        "reply_target": ReplyTarget(kind="mention", ref="m1"),
    }
    return Interaction(**{**values, **changes})


def own_post(text: str, **changes: Any) -> Interaction:
    """A post by the brand itself."""
    return message(text, **{"direction": "outbound", "author": Author(external_id="brand"), **changes})


def said(
    *lines: tuple[Literal["customer", "agent", "bystander"], str], private: bool = False
) -> Sequence[TimelineEntry]:
    """A conversation, a line a minute, that ends before noon."""
    return tuple(
        TimelineEntry(
            at=NOON.replace(hour=11, minute=index), who=who, visibility="private" if private else "public", text=text
        )
        for index, (who, text) in enumerate(lines)
    )


def case(**changes: Any) -> Case:
    """A case at noon."""
    return Case(**{"now": NOON, "source": "x", **changes})


def rendered(text: str, **changes: Any) -> Rendered:
    """A reply as it would be sent, in public."""
    values: dict[str, Any] = {
        "text": text,
        "account": "brand",
        "target": ReplyTarget(kind="mention", ref="m1"),
        "visibility": "public",
        "length": len(text),
    }
    return Rendered(**{**values, **changes})
