"""Reads CEL expressions (cel-spec, langdef.md) into a tree with positions, as far as conditions use the language."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any


class ConditionError(ValueError):
    """What is wrong with a condition and where. The message shows the line and the column."""

    def __init__(self, problem: str, at: int, text: str) -> None:
        before = text[:at]
        line, column = before.count("\n") + 1, at - (before.rfind("\n") + 1) + 1
        where = f"column {column}" if "\n" not in text else f"line {line}, column {column}"
        super().__init__(f"{problem} ({where})")
        self.problem = problem
        self.at = at


@dataclass(frozen=True)
class Node:
    """One part of an expression: `kind` is `literal`, `list`, `map`, `name`, `field`, `index`, `call`, `if` or `op`."""

    kind: str
    at: int
    value: Any = None
    """A literal's value, a name, a field's name, a function's name, an operator."""
    parts: tuple[Node, ...] = ()
    """Operands, members, arguments; of a field or a method call the target comes first."""
    method: bool = False


DEEPEST = 24
MEMBERS_MOST = 200
RESERVED = frozenset(
    [
        "as",
        "break",
        "const",
        "continue",
        "else",
        "for",
        "function",
        "if",
        "import",
        "let",
        "loop",
        "package",
        "namespace",
        "return",
        "var",
        "void",
        "while",
    ]
)

_TOKEN = re.compile(
    r"""(?P<space>\s+|//[^\n]*)
      | (?P<number>0[xX][0-9a-fA-F]+[uU]?|[0-9]+\.[0-9]+(?:[eE][+-]?[0-9]+)?|[0-9]+(?:[eE][+-]?[0-9]+|[uU])?
        |\.[0-9]+(?:[eE][+-]?[0-9]+)?)
      | (?P<string>[rR]?(?:\"\"\"[\s\S]*?\"\"\"|\'\'\'[\s\S]*?\'\'\'|"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'))
      | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
      | (?P<op>\|\||&&|<=|>=|==|!=|[-+*/%<>!?:.,()\[\]{}])""",
    re.VERBOSE,
)
_ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-3][0-7]{2})|(.))", re.DOTALL)
_SIMPLE = dict(zip("abfnrtv", "\a\b\f\n\r\t\v", strict=True))
_LEVELS = (("||",), ("&&",), ("<", "<=", ">", ">=", "==", "!=", "in"), ("+", "-"), ("*", "/", "%"))


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    at: int


def parse(text: str) -> Node:
    """The tree of an expression. Raises ConditionError."""
    reader = _Reader(text, _tokens(text))
    node = reader.expression(0)
    if reader.now.kind != "end":
        raise ConditionError(f"{reader.now.text!r} is not expected here", reader.now.at, text)
    return node


def _tokens(text: str) -> list[_Token]:
    found: list[_Token] = []
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            hint = "a text does not end" if text[at] in "\"'" else f"{text[at]!r} is not part of the language"
            raise ConditionError(hint, at, text)
        kind = str(match.lastgroup)
        if kind != "space":
            found.append(_Token("op" if match.group() == "in" else kind, match.group(), at))
        at = match.end()
    return [*found, _Token("end", "the end", len(text))]


class _Reader:
    def __init__(self, text: str, tokens: list[_Token]) -> None:
        self._text = text
        self._tokens = tokens
        self._place = 0

    @property
    def now(self) -> _Token:
        return self._tokens[self._place]

    def _take(self) -> _Token:
        token = self.now
        self._place += 1
        return token

    def _is(self, *texts: str) -> bool:
        return self.now.kind == "op" and self.now.text in texts

    def _expect(self, text: str) -> None:
        if not self._is(text):
            raise ConditionError(f"{text!r} is missing before {self.now.text!r}", self.now.at, self._text)
        self._place += 1

    def expression(self, depth: int) -> Node:
        if depth > DEEPEST:
            raise ConditionError(f"it is nested more than {DEEPEST} levels deep", self.now.at, self._text)
        node = self._level(0, depth)
        if not self._is("?"):
            return node
        at = self._take().at
        yes = self._level(0, depth + 1)
        self._expect(":")
        return Node("if", at, parts=(node, yes, self.expression(depth + 1)))

    def _level(self, level: int, depth: int) -> Node:
        if level == len(_LEVELS):
            return self._unary(depth)
        node = self._level(level + 1, depth)
        long = 0
        while self._is(*_LEVELS[level]):
            token = self._take()
            long += 1
            if long > MEMBERS_MOST:
                raise ConditionError(f"more than {MEMBERS_MOST} parts in a row", token.at, self._text)
            node = Node("op", token.at, token.text, (node, self._level(level + 1, depth)))
        return node

    def _unary(self, depth: int) -> Node:
        if depth > DEEPEST:
            raise ConditionError(f"it is nested more than {DEEPEST} levels deep", self.now.at, self._text)
        if self._is("!", "-"):
            token = self._take()
            return Node("op", token.at, token.text, (self._unary(depth + 1),))
        node = self._primary(depth)
        while self._is(".", "["):
            token = self._take()
            if token.text == "[":
                node = Node("index", token.at, parts=(node, self.expression(depth + 1)))
                self._expect("]")
                continue
            name = self._name()
            if self._is("("):
                node = Node("call", name.at, name.text, (node, *self._arguments(depth)), method=True)
            else:
                node = Node("field", name.at, name.text, (node,))
        return node

    def _name(self) -> _Token:
        token = self._take()
        if token.kind != "name" or token.text in RESERVED:
            raise ConditionError(f"a name is needed instead of {token.text!r}", token.at, self._text)
        return token

    def _arguments(self, depth: int) -> tuple[Node, ...]:
        self._expect("(")
        return self._members(")", depth)

    def _members(self, closing: str, depth: int) -> tuple[Node, ...]:
        found: list[Node] = []
        while not self._is(closing):
            found.append(self.expression(depth + 1))
            if len(found) > MEMBERS_MOST:
                raise ConditionError(
                    f"more than {MEMBERS_MOST} members; keep them in a list of the company", self.now.at, self._text
                )
            if not self._is(closing):
                self._expect(",")
        self._expect(closing)
        return tuple(found)

    def _primary(self, depth: int) -> Node:
        token = self._take()
        match token.kind, token.text:
            case "number", text:
                return Node("literal", token.at, self._number(text, token.at))
            case "string", text:
                return Node("literal", token.at, self._string(text, token.at))
            case "name", "true" | "false" as text:
                return Node("literal", token.at, text == "true")
            case "name", "null":
                return Node("literal", token.at)
            case "name", text if text not in RESERVED:
                if self._is("("):
                    return Node("call", token.at, text, self._arguments(depth))
                return Node("name", token.at, text)
            case "op", "(":
                node = self.expression(depth + 1)
                self._expect(")")
                return node
            case "op", "[":
                return Node("list", token.at, parts=self._members("]", depth))
            case "op", "{":
                return self._map(token.at, depth)
        raise ConditionError(f"a value is needed instead of {token.text!r}", token.at, self._text)

    def _map(self, at: int, depth: int) -> Node:
        parts: list[Node] = []
        while not self._is("}"):
            parts.append(self.expression(depth + 1))
            self._expect(":")
            parts.append(self.expression(depth + 1))
            if not self._is("}"):
                self._expect(",")
        self._expect("}")
        return Node("map", at, parts=tuple(parts))

    def _number(self, text: str, at: int) -> int | float:
        if text[-1:] in "uU":
            raise ConditionError("numbers without sign are not used here: leave the u out", at, self._text)
        value = int(text, 16) if text[:2] in ("0x", "0X") else float(text) if re.search(r"[.eE]", text) else int(text)
        if isinstance(value, int) and value >= 2**63:
            raise ConditionError("the number has more than 64 bits", at, self._text)
        return value

    def _string(self, text: str, at: int) -> str:
        raw = text[0] in "rR"
        body = text[1:] if raw else text
        quotes = 3 if body[:3] in ('"""', "'''") else 1
        body = body[quotes:-quotes]
        return body if raw else _ESCAPE.sub(lambda match: self._escape(match, at), body)

    def _escape(self, match: re.Match[str], at: int) -> str:
        digits = match[1] or match[2] or match[3]
        code = int(digits, 16) if digits else int(match[4], 8) if match[4] else None
        if code is not None:
            if code > 0x10FFFF or 0xD800 <= code <= 0xDFFF:
                raise ConditionError(f"{match[0]} is no character", at, self._text)
            return chr(code)
        if match[5] in _SIMPLE:
            return _SIMPLE[match[5]]
        if match[5] in "\\\"'`?":
            return str(match[5])
        raise ConditionError(f"{match[0]} is no escape; a backslash is written \\\\", at, self._text)
