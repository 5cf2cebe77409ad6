"""Secrets are taken out of what is about to be written down or answered, in every form that they are likely to have.

A provider's error may quote the request that it refused, and a plugin's exception its configuration. Where such words
enter the gateway (`trouble_of`, the sandbox, the check of a configuration, the bytes of a webhook) they pass through
here first, and every line of the log does once more.

What is a secret the vault tells: whatever it opened in this process.
"""

from __future__ import annotations

import base64
import html
import json
import re
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar
from urllib.parse import quote, quote_plus, unquote, urlsplit

from pydantic import BaseModel, ValidationError

M = TypeVar("M", bound=BaseModel)

MASK = "[secret]"
SHORTEST = 6
"""Characters. A shorter secret is found everywhere, and protects nothing."""
MOST = 20_000
"""How many secrets a process remembers; those met longest ago are forgotten first."""
LEAST_PATH = 16
"""The path of a feed's address holds its key; a shorter one is the name of a database or of a folder."""
CUT_FROM = 10
"""From so many characters on, the beginning of a secret that was cut off is one too."""

_TOKEN = re.compile(r"token|secret|password|passwd|jwt|session|cookie|credential|key$|auth", re.IGNORECASE)
_API_KEY = re.compile(r"\b(hg_[a-z2-7]{8}_)[0-9a-f]{8,64}")
_CREDENTIALS = re.compile(r"\b((?:Basic|Bearer)\s+)(?=[\w+/.~=-]{12})[\w+/.~=-]+", re.IGNORECASE)


class Redactor:
    """Knows secrets by their beginnings, so that looking through a text costs the same however many there are."""

    def __init__(self, most: int = MOST) -> None:
        self._known: OrderedDict[str, tuple[str, ...]] = OrderedDict()
        self._starts: dict[str, dict[str, int]] = {}
        self._most = most

    def learn(self, secrets: Iterable[str]) -> None:
        """Know these from now on."""
        for secret in secrets:
            if secret in self._known:
                self._known.move_to_end(secret)
                continue
            self._known[secret] = forms = tuple(forms_of(secret))
            for form in forms:
                starting = self._starts.setdefault(form[:SHORTEST], {})
                starting[form] = starting.get(form, 0) + 1
            if len(self._known) > self._most:
                self._forget(*self._known.popitem(last=False))

    def _forget(self, _: str, forms: Sequence[str]) -> None:
        for form in forms:
            starting = self._starts[form[:SHORTEST]]
            starting[form] -= 1
            if not starting[form]:
                del starting[form]
                if not starting:
                    del self._starts[form[:SHORTEST]]

    def clean(self, text: str) -> str:
        """The text without the secrets in it."""
        text = _CREDENTIALS.sub(rf"\1{MASK}", _API_KEY.sub(rf"\1{MASK}", text))
        found: list[str] = []
        at = kept = 0
        while at <= len(text) - SHORTEST:
            starting = self._starts.get(text[at : at + SHORTEST])
            length = max((_shared(form, text, at) for form in starting), default=0) if starting else 0
            if length:
                found += (text[kept:at], MASK)
                at = kept = at + length
            else:
                at += 1
        return "".join(found) + text[kept:] if found else text


def _shared(form: str, text: str, at: int) -> int:
    """How many characters of a secret stand here: all, or so many of its beginning that the rest was cut off."""
    if text.startswith(form, at):
        return len(form)
    shared = SHORTEST
    while shared < len(form) and at + shared < len(text) and form[shared] == text[at + shared]:
        shared += 1
    return shared if shared >= CUT_FROM and shared * 5 >= len(form) * 2 else 0


def forms_of(secret: str) -> Iterator[str]:
    """How a secret may be written in a message: as it is, and as the encodings of requests and logs have it."""
    if len(secret) < SHORTEST:
        return
    data = secret.encode("utf-8", "surrogatepass")
    written = {secret, quote(data, safe=""), quote(data), quote_plus(data), html.escape(secret)}
    written |= {json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1], repr(secret)[1:-1]}
    written |= {data.hex(), data.hex().upper()}
    # as part of something longer, as `user:password` is: the characters that its own bytes alone decide
    for before, first in ((0, 0), (1, 2), (2, 3)):
        encoded = base64.b64encode(bytes(before) + data).decode("ascii")
        inner = encoded[first : (before + len(data)) * 8 // 6]
        written |= {inner, inner.translate(str.maketrans("+/", "-_"))}
    for form in written:
        if len(form) >= SHORTEST:
            yield form


def leaves(document: Any) -> Iterator[str]:
    """The texts in a sealed document that are secrets. Of an address it is what follows the host."""
    if isinstance(document, str):
        if "://" in document:
            parts = urlsplit(document)
            if parts.password:
                yield unquote(parts.password)
            document = document.partition("://")[2].partition("/")[2]
            if len(document) < LEAST_PATH:
                return
        yield document
    elif isinstance(document, Mapping):
        for value in document.values():
            yield from leaves(value)
    elif isinstance(document, list | tuple):
        for value in document:
            yield from leaves(value)


_redactor = Redactor()


def remember(document: Any) -> None:
    """Called with whatever secret this process gets to know: a text, or a document with texts in it."""
    _redactor.learn(one for one in leaves(document) if len(one) >= SHORTEST)


def remember_tokens(state: Any) -> None:
    """Called with the state document of a connection, of which what is named like a token is secret."""
    if isinstance(state, Mapping):
        for name, value in state.items():
            if _TOKEN.search(str(name)):
                remember(value)
            else:
                remember_tokens(value)


def redacted(text: str) -> str:
    """The text without any secret that this process knows, nor anything that looks like credentials."""
    return _redactor.clean(text)


def redacted_model(model: M) -> M:
    """The same with every text in it redacted: for what a plugin says and is shown as it is. A word that the model
    itself prescribes (a status, say) stays, though somebody has chosen it as a secret."""
    said = model.model_dump()
    document = _redacted_document(said)
    try:
        return model.model_validate(document)
    except ValidationError as error:
        for one in error.errors():
            _put(document, one["loc"], _get(said, one["loc"]))
        return model.model_validate(document)


def _get(document: Any, path: Sequence[int | str]) -> Any:
    for step in path:
        document = document[step]
    return document


def _put(document: Any, path: Sequence[int | str], value: Any) -> None:
    _get(document, path[:-1])[path[-1]] = value


def _redacted_document(value: Any) -> Any:
    if isinstance(value, str):
        return redacted(value)
    if isinstance(value, Mapping):
        return {name: _redacted_document(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_redacted_document(one) for one in value]
    return value


def masked(data: bytes, secrets: Sequence[str]) -> bytes:
    """Bytes of a request without these secrets. For the door, which has no time for `redacted`: it looks for the few
    of one connection only, as they are and percent-encoded."""
    for secret in secrets:
        for form in {secret, quote(secret, safe=""), quote_plus(secret)}:
            written = form.encode("utf-8", "surrogatepass")
            if written in data:
                data = data.replace(written, MASK.encode())
    return data
