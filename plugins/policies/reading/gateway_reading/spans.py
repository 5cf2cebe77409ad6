"""Sets of tokens: whether a span touches others, in time that grows with the span alone."""

from __future__ import annotations

from collections.abc import Iterable

from gateway_reading.lexicon import Span


def covered(spans: Iterable[Span]) -> set[int]:
    """The tokens that any of the spans covers."""
    return {index for span in spans for index in range(span.first, span.last)}


def touches(span: Span, tokens: set[int]) -> bool:
    """Whether the span covers one of these tokens."""
    return any(index in tokens for index in range(span.first, span.last))
