"""Turns live traffic into something that may be shown: the same shape, with other people in it.

Every word, name, handle, address, number of more than two digits, id and token is replaced by another of the same
length and kind, the same one wherever it occurs in one recording: an id that a text, a link and a field share stays
shared, byte offsets stay right, and a number above 2^53 stays one. What is needed to read the document stays: keys,
truth values, short counts, times, and words that the plugin's own code names (events, statuses). The replacement goes
by a key that is made for one recording and thrown away.

What no rule here understands is not written: `Unredactable`. Read what was written before you show it all the same.
"""

from __future__ import annotations

import ast
import base64
import binascii
import hmac
import json
import re
import secrets
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote_plus

from gateway_schemas.authoring.package import parse

_STRUCTURAL = re.compile(
    r"(?:^|_)(?:type|event|events|kind|status|state|object|action|verb|item|field|via|role|lang|language|locale|currency|"
    r"visibility|privacy|priority|mime|format|encoding|timezone|time_zone|content_type|media_type|mime_type)$",
    re.IGNORECASE,
)
"""Keys whose values are words of the provider's, not of people."""
_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_.:/+-]{0,60}")
_TIME = re.compile(r"\d{4}-\d{2}-\d{2}(?:[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?(?:Z|[+-]\d{2}:?\d{2})?)?")
_TIMELY = re.compile(r"(?:time|date|stamp|created|updated|changed|expires|_at|_ts|^at|^ts)(?:_?ms)?$", re.IGNORECASE)
_EPOCH = re.compile(r"1\d{9}(?:\d{3})?")
_NAMES = re.compile(r"(?:^|_)ids?$|Ids?$")
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|[{}\[\],:]|true|false|null|\s+')
_NUMBER = re.compile(r"(-?)(\d+)(?:(\.)(\d+))?([eE][+-]?\d+)?")
_URL = re.compile(r"\b(https?)://([^\s/?#\"'<>\\]+)([^\s\"'<>\\]*)", re.IGNORECASE)
_MAIL = re.compile(r"\b([\w.+-]+)@((?:[\w-]+\.)+)([A-Za-z]{2,})\b")
_KEPT = re.compile(r"&#?\w{1,10};|</?[A-Za-z][A-Za-z0-9]*|\\[nrt]")
_RUN = re.compile(r"[^\W_]+")
_WIDE = {2: "äöüéèñçåøß", 3: "天地人山水火木金土日", 4: "𝒜𝒞𝒟𝒢𝒥𝒦"}


class Unredactable(Exception):
    """What this is cannot be made harmless; the message says why."""


class Redactor:
    """One recording's replacements."""

    def __init__(
        self,
        *,
        key: bytes | None = None,
        keep: Iterable[str] = (),
        keep_keys: Iterable[str] = (),
        hosts: Iterable[str] = (),
    ) -> None:
        self._key = key or secrets.token_bytes(32)
        self._keep = frozenset(keep)
        self._keep_keys = frozenset(keep_keys)
        self._hosts = tuple(hosts)

    def body(self, body: bytes, content_type: str) -> bytes:
        """A whole body. Raises Unredactable for what is neither JSON nor a form."""
        if not body.strip():
            return body
        if "x-www-form-urlencoded" in content_type:
            return self.form(body)
        return self.json(body)

    def json(self, body: bytes) -> bytes:
        """A JSON document, in its own layout: only values are replaced."""
        try:
            text = body.decode("utf-8")
            json.loads(text)
        except (ValueError, RecursionError) as error:
            raise Unredactable("it is neither JSON nor a form: nothing else can be redacted") from error
        return "".join(self._tokens(text)).encode("utf-8")

    def form(self, body: bytes) -> bytes:
        """`a=b&c=d`, as forms and queries are."""
        try:
            pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, strict_parsing=True)
        except ValueError as error:
            raise Unredactable("the form cannot be read") from error
        return "&".join(f"{quote_plus(name)}={quote_plus(self.value(name, value))}" for name, value in pairs).encode()

    def value(self, key: str, value: str) -> str:
        """One text under one key."""
        if self._stays(key, value):
            return value
        if value[:1] in "{[":
            try:
                return self.json(value.encode()).decode()
            except Unredactable:
                pass
        if (inner := _base64_json(value)) is not None:
            return base64.b64encode(self.json(inner)).decode("ascii")
        return self.text(value)

    def text(self, text: str) -> str:
        """Prose, a name, a handle, an address, a link, an id, markup."""
        pieces, done = [], 0
        for found in re.finditer(f"{_URL.pattern}|{_MAIL.pattern}|{_KEPT.pattern}", text, re.IGNORECASE):
            pieces += [self._words(text[done : found.start()]), self._special(found[0])]
            done = found.end()
        return "".join([*pieces, self._words(text[done:])])

    def any(self, value: Any, key: str = "") -> Any:
        """A parsed document."""
        match value:
            case dict():
                return {self._name(name): self.any(one, name) for name, one in value.items()}
            case list():
                return [self.any(one, key) for one in value]
            case str():
                return self.value(key, value)
            case bool() | None:
                return value
            case int() | float():
                return json.loads(self._number(key, json.dumps(value)))
        raise Unredactable(f"{type(value).__name__} is no JSON")

    def _tokens(self, text: str) -> Iterator[str]:
        stack: list[tuple[str, str]] = []  # of each object or array that is open: its kind and its key
        key, naming = "", False
        for found in _TOKEN.finditer(text):
            token = found[0]
            if token in "{[":
                stack.append((token, key))
                naming = token == "{"
            elif token in "}]":
                _, key = stack.pop()
                naming = False
            elif token == ",":
                naming = bool(stack) and stack[-1][0] == "{"
            elif token == ":":
                naming = False
            elif token[0] == '"':
                known = json.loads(token)
                if naming:
                    key = known
                    token = _quoted(self._name(known), token)
                else:
                    token = _quoted(self.value(key, known), token)
            elif token[0] in "-0123456789":
                token = self._number(key, token)
            yield token

    def _name(self, name: str) -> str:
        """A key: a word of the provider's, unless it is an id or an address."""
        return self.text(name) if re.fullmatch(r"\d{4,}", name) or "@" in name else name

    def _stays(self, key: str, value: str) -> bool:
        if not value or _TIME.fullmatch(value) or key in self._keep_keys:
            return True
        if _EPOCH.fullmatch(value):
            return bool(_TIMELY.search(key))
        return bool(_WORD.fullmatch(value)) and (value in self._keep or bool(_STRUCTURAL.search(key)))

    def _number(self, key: str, token: str) -> str:
        sign, whole, point, rest, power = _NUMBER.fullmatch(token).groups("")  # type: ignore[union-attr]
        if len(rest) > 3:  # a place on earth, say
            return sign + whole + point + self._run(rest) + power
        if point or power or key in self._keep_keys or (_EPOCH.fullmatch(whole) and _TIMELY.search(key)):
            return token
        if len(whole) >= 6 or _NAMES.search(key):
            return sign + self._run(whole)
        return token

    def _special(self, piece: str) -> str:
        if found := _URL.fullmatch(piece):
            return f"{found[1]}://{self._host(found[2])}{self._words(found[3])}"
        if found := _MAIL.fullmatch(piece):
            return f"{self._words(found[1])}@{self._words(found[2])}{found[3]}"
        return piece

    def _host(self, host: str) -> str:
        """The provider's own hosts stay, but for the company's part of them; of others the last part stays."""
        for known in self._hosts:
            if host == known or host.endswith(f".{known}"):
                return self._words(host[: len(host) - len(known)]) + known
        before, point, last = host.rpartition(".")
        return self._words(before) + point + last

    def _words(self, text: str) -> str:
        return _RUN.sub(lambda found: self._run(found[0]), text)

    def _run(self, run: str) -> str:
        """Another word of the same length and kind, the same one for the same word in any case."""
        if run.isascii() and run.isdigit() and len(run) < 3:
            return run
        stream = self._stream(run.lower() if len(run.lower()) == len(run) else run)
        return "".join(_other(letter, next(stream), first=index == 0) for index, letter in enumerate(run))

    def _stream(self, word: str) -> Iterator[int]:
        block = 0
        while True:
            yield from hmac.digest(self._key, f"{block}:{word}".encode("utf-8", "surrogatepass"), "sha256")
            block += 1


def words_of(modules: Iterable[Path]) -> set[str]:
    """The single words that a plugin's code names as texts: its provider's events, statuses and kinds."""
    return {
        node.value
        for path in modules
        for node in ast.walk(parse(path))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and _WORD.fullmatch(node.value)
    }


def _other(letter: str, dice: int, *, first: bool) -> str:
    if letter.isascii():
        if letter.isdigit():
            return str(1 + dice % 9) if first and letter != "0" else str(dice % 10)
        other = chr(97 + dice % 26)
        return other.upper() if letter.isupper() else other
    if not letter.isalpha():
        return letter
    # as many bytes and UTF-16 units, so that offsets stay right
    wide = _WIDE[len(letter.encode("utf-8", "surrogatepass"))]
    return wide[dice % len(wide)]


def _quoted(value: str, before: str) -> str:
    """The text as JSON, escaped as it was before."""
    token = json.dumps(value, ensure_ascii="\\u" in before)
    return token.replace("/", "\\/") if "\\/" in before else token


def _base64_json(value: str) -> bytes | None:
    if len(value) < 8 or len(value) % 4:
        return None
    try:
        inner = base64.b64decode(value, validate=True)
        return inner if isinstance(json.loads(inner), dict | list) else None
    except (binascii.Error, ValueError, RecursionError):
        return None
