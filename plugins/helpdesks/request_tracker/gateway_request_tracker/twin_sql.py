"""A small part of TicketSQL and TransactionSQL: comparisons, AND, OR and parentheses."""

from __future__ import annotations

import re
from collections.abc import Callable

from gateway_request_tracker.twin_model import ApiError

_TOKEN = re.compile(r"\s*(?:(\(|\)|!=|>=|<=|=|>|<)|'((?:[^'\\]|\\.)*)'|([\w.{}:-]+))")

Compare = Callable[[str, str, str], bool]


def evaluate(query: str, compare: Compare) -> bool:
    """Whether the query holds; `compare` gets each field, operator and value. Raises ApiError 400 where RT cannot read
    it."""
    tokens: list[tuple[str, str]] = []
    place = 0
    while query[place:].strip():
        matched = _TOKEN.match(query, place)
        if matched is None:
            raise wrong(query[place:])
        symbol, text, word = matched.groups()
        if symbol is not None:
            tokens.append(("symbol", symbol))
        elif text is not None:
            tokens.append(("value", re.sub(r"\\(.)", r"\1", text)))
        else:
            tokens.append(("word", word))
        place = matched.end()
    reader = _Reader(tokens, compare)
    held = reader.alternatives()
    if reader.tokens:
        raise wrong(reader.tokens[0][1])
    return held


def wrong(near: str) -> ApiError:
    """What RT answers to a query that it cannot read."""
    return ApiError(400, f"Wrong query, expecting a KEYWORD or OPEN_PAREN in '>{near}<--here'\n")


class _Reader:
    def __init__(self, tokens: list[tuple[str, str]], compare: Compare) -> None:
        self.tokens = tokens
        self.compare = compare

    def alternatives(self) -> bool:
        held = self.conjunction()
        while self.tokens and self.tokens[0] == ("word", "OR"):
            self.tokens.pop(0)
            other = self.conjunction()
            held = held or other
        return held

    def conjunction(self) -> bool:
        held = self.one()
        while self.tokens and self.tokens[0] == ("word", "AND"):
            self.tokens.pop(0)
            other = self.one()
            held = held and other
        return held

    def one(self) -> bool:
        if not self.tokens:
            raise wrong("")
        if self.tokens[0] == ("symbol", "("):
            self.tokens.pop(0)
            held = self.alternatives()
            if not self.tokens or self.tokens.pop(0) != ("symbol", ")"):
                raise wrong("")
            return held
        if len(self.tokens) < 3 or self.tokens[0][0] == "symbol" or self.tokens[1][0] != "symbol":
            raise wrong(self.tokens[-1][1])
        (_, name), (_, operator), (kind, value) = self.tokens[:3]
        del self.tokens[:3]
        if kind == "symbol" or (kind == "word" and not value.isdigit()):
            raise wrong(value)
        return self.compare(name, operator, value)
