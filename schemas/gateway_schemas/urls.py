"""Find URLs in a text as the networks do that count every URL the same, however long it is.

The grammar is that of X's twitter-text, version 3. Mastodon uses it too, with wider paths and only where a scheme
stands. It is written as a scanner over runs of host characters instead of one backtracking expression, so that its
time grows with the length of the text and with nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import NamedTuple

_SPACES = "\t-\r \x85\xa0\u1680\u180e\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
_DIRECTIONAL = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
_NONCHARACTERS = "\ufffe\ufeff\uffff"
_ACCENTED = (
    "\xc0-\xd6\xd8-\xf6\xf8-\u024f\u0253\u0254\u0256\u0257\u0259\u025b\u0263\u0268\u026f\u0272\u0289\u028b\u02bb"
    "\u0300-\u036f\u1e00-\u1eff"
)
_NOT_HOST = r"!'#%&()*+,\\/:;<=>?@\[\]\^{|}~$" + _SPACES + _NONCHARACTERS + _DIRECTIONAL

_RUN = re.compile(f"[^{_NOT_HOST}]+")
_DOTTED = re.compile(r"\.(?:[A-Za-z]{2}|[^\x00-\x7f])")
_PLAIN_HOST = re.compile("[-.A-Za-z0-9]+")
_MAY_PRECEDE = re.compile(rf"[^A-Za-z0-9@\uff20$#\uff03{_NONCHARACTERS}]")
_START = re.compile(rf"(?<![A-Za-z0-9@\uff20$#\uff03{_NONCHARACTERS}])[^_\-.]")
_SCHEME = re.compile(r"[hH][tT][tT][pP][sS]?://")
_PORT = re.compile(":[0-9]+")
_ASCII_TLD = re.compile(r"[A-Za-z]++(?![0-9@+\-])")
_PUNYCODE_TLD = re.compile(r"[xX][nN]--[-0-9A-Za-z]+")
_ENDS_TLD = re.compile(r"(?![0-9A-Za-z@+\-])")
_HOST_LABEL = re.compile(r"[^_\-](?:.*[^_\-])?", re.DOTALL)
_LATIN_LABEL = re.compile(rf"[-A-Za-z0-9{_ACCENTED}]+")
_LATIN_TAIL = re.compile(rf"(?<![-A-Za-z0-9{_ACCENTED}])[-A-Za-z0-9{_ACCENTED}]++\Z")
_ASTRAL = re.compile("[\U00010000-\U0010ffff]+")
_LABEL_SEPARATORS = re.compile("[\u3002\uff0e\uff61]")
_X_QUERY = r"\?[A-Za-z0-9!?*'@();:&=+$/%#\[\]\-_.,~|]*[A-Za-z0-9\-_&=#/]"
_SHORT_LINK = re.compile(rf"[hH][tT][tT][pP][sS]?://[tT]\.[cC][oO]/([A-Za-z0-9]+)(?:{_X_QUERY})?")

_LONGEST_URL = 4096
_LONGEST_LABEL = 63
_LONGEST_SLUG = 40


class Url(NamedTuple):
    """A URL at `text[start:end]`, in code points."""

    start: int
    end: int
    text: str


@dataclass(frozen=True, slots=True)
class UrlRules:
    """How a network reads URLs: also without a scheme or not, what a path and a query hold, short links of its own."""

    bare: bool
    path: re.Pattern[str]
    query: re.Pattern[str]
    short_links: bool


def _balanced(character: str) -> str:
    # Parentheses count when they balance, nested once. All of it is possessive: no parenthesis is a path character.
    return rf"\((?:{character}++\)|{character}*+\({character}++\){character}*+\))"


# What may end a path, and what may only stand inside it.
_X_END = rf"A-Za-z0-9\u0400-\u04ff+\-=_#/{_ACCENTED}"
_X_INSIDE = r"!*';:,.$%\[\]\u2013~@|&"
_X_BALANCED = _balanced(f"[{_X_END}{_X_INSIDE}]")
X_RULES = UrlRules(
    bare=True,
    # X ends a path with parentheses only right behind a character that could end it.
    path=re.compile(rf"/(?:{_X_BALANCED})*+(?:(?:[{_X_INSIDE}]++|{_X_BALANCED})*+[{_X_END}]++(?:{_X_BALANCED})*+)*+"),
    query=re.compile(_X_QUERY),
    short_links=True,
)
_M_INSIDE = r"!*\"'\u300c\u300d;:=,.$%\[\]~&|@"
_M_BALANCED = _balanced(r"[^\s<>()?]")
_M_QUERY = r"A-Za-z0-9_&=#/\-\xa0-\ud7ff\uf900-\uffef\U00010000-\U0010fffd"
MASTODON_RULES = UrlRules(
    bare=False,
    path=re.compile(rf"/(?:[{_M_INSIDE}]*+(?:[^\s<>()?{_M_INSIDE}]++|{_M_BALANCED}))*+"),
    query=re.compile(rf"\?[{_M_QUERY}!?*'();:+$%\[\].,~|@\^]*[{_M_QUERY}]"),
    short_links=False,
)


def find_urls(text: str, rules: UrlRules = X_RULES) -> list[Url]:
    """Find the URLs the network of `rules` counts and links in `text`, in order and without overlap.

    X counts on the NFC form; pass that to get positions in it.
    """
    found: list[Url] = []
    if "." not in text:
        return found
    done = 0
    for run in _RUN.finditer(text):
        first, last = run.span()
        if last <= done or not _DOTTED.search(text, first, last):
            continue
        hosts = _Hosts(text, first, last, _HOST_LABEL)
        if text.endswith("://", 0, first) and text[first] not in "_-":
            scheme = _scheme(text, first, done)
            if scheme is not None and (end := hosts.end(0, first)) is not None:
                done = _take(found, text, scheme, first, end, rules)
        for label, (start, stop) in enumerate(hosts.labels):
            if stop <= done or hosts.ends[label] is None:
                continue
            for at in _starts(text, max(start, done + 1) if start or done else 0, stop):
                if (end := hosts.end(label, at)) is not None:
                    done = _take(found, text, at, at, end, rules)
                    break
    return found


def _scheme(text: str, host: int, done: int) -> int | None:
    for start in (host - len("https://"), host - len("http://")):
        if start >= 0 and _SCHEME.fullmatch(text, start, host):
            return start if start == 0 or (start > done and _MAY_PRECEDE.match(text, start - 1)) else None
    return None


def _starts(text: str, lowest: int, stop: int) -> Iterator[int]:
    if lowest == 0:
        # A host needs a character before it. The vendor's expression takes even the text's first for that if it can.
        yield from (at for at in (1, 0) if _START.match(text, at, stop))
        lowest = 2
    for match in _START.finditer(text, lowest, stop):
        yield match.start()


class _Hosts:
    """The host names in `text[start:stop]`, a run of host characters: where one that starts in a given label ends.

    Labels are looked at from right to left, each once, and the longest host wins.
    """

    def __init__(self, text: str, start: int, stop: int, label: re.Pattern[str]) -> None:
        self.labels: list[tuple[int, int]] = []
        for part in text[start:stop].split("."):
            self.labels.append((start, start + len(part)))
            start += len(part) + 1
        self.ends: list[int | None] = [None] * len(self.labels)
        """For each label where a host ends that starts in it, behind its top-level domain."""
        self._lowest = [0] * len(self.labels)
        through: int | None = None  # where a host ends that has the whole label to the right in it
        for index in range(len(self.labels) - 2, -1, -1):
            start, end = self.labels[index]
            if through is None and (through := _top_level_end(text, end + 1)) is not None:
                # Right before the top-level domain an underscore is not allowed, in names to the left of that it is.
                self._lowest[index] = text.rfind("_", start, end) + 1
            if through is None or start == end or text[end - 1] in "_-":
                through = None
                continue
            self.ends[index] = through
            if self._lowest[index] > start or not label.fullmatch(text, start, end):
                through = None

    def end(self, label: int, start: int) -> int | None:
        """Where the host that starts at `start` within `label` ends; None when there is none."""
        return self.ends[label] if start >= self._lowest[label] else None


def _top_level_end(text: str, start: int) -> int | None:
    ascii_names, others = _top_level_domains()
    if match := _ASCII_TLD.match(text, start):
        if match.group().lower() in ascii_names:
            return match.end()
    else:
        for name in others.get(text[start : start + 1].lower(), ()):
            end = start + len(name)
            if text[start:end].lower() == name and _ENDS_TLD.match(text, end):
                return end
    match = _PUNYCODE_TLD.match(text, start)
    return match.end() if match else None


@cache
def _top_level_domains() -> tuple[frozenset[str], dict[str, list[str]]]:
    """The ASCII names, and the others by their first character, longest first."""
    lines = files(__package__).joinpath("data", "tlds.txt").read_text("ascii").split("\n")
    listed = {line for line in lines if line and not line.startswith("#")}
    encoded = {name for name in listed if name.startswith("xn--")}
    others: dict[str, list[str]] = {}
    for name in sorted((name[4:].encode().decode("punycode") for name in encoded), key=len, reverse=True):
        others.setdefault(name[0], []).append(name)
    return frozenset(listed - encoded), others


def _take(found: list[Url], text: str, start: int, host: int, host_end: int, rules: UrlRules) -> int:
    """Add the URL at `start` to `found`, unless it breaks a rule; return where the search goes on in either case."""
    port = _PORT.match(text, host_end)
    path_start = end = port.end() if port else host_end
    if match := rules.path.match(text, end):
        end = match.end()
    has_path = end > path_start
    if match := rules.query.match(text, end):
        end = match.end()
    scheme = text[start:host]
    if not _length_allowed(text[host:host_end], text[start:end], scheme):
        return end
    if scheme:
        link = _SHORT_LINK.match(text, start, end) if rules.short_links else None
        if link is None:
            found.append(Url(start, end, text[start:end]))
        elif len(link.group(1)) <= _LONGEST_SLUG:
            found.append(Url(start, link.end(), link.group()))
    elif rules.bare and not (start and text[start - 1] in "-_./"):
        for at, to in (bare := _latin_hosts(text[host:host_end])):
            to = end if has_path and to == bare[-1][1] else host + to
            found.append(Url(host + at, to, text[host + at : to]))
    return end


def _latin_hosts(host: str) -> list[tuple[int, int]]:
    """Without a scheme only the names of ASCII and accented letters within a host are linked; there may be several."""
    if _PLAIN_HOST.fullmatch(host):
        return [(0, len(host))]
    hosts = _Hosts(host, 0, len(host), _LATIN_LABEL)
    found: list[tuple[int, int]] = []
    for label, (start, stop) in enumerate(hosts.labels):
        if hosts.ends[label] is None or (found and stop <= found[-1][1]):
            continue
        tail = _LATIN_TAIL.search(host, start, stop)
        if tail and (end := hosts.end(label, tail.start())) is not None:
            found.append((tail.start(), end))
    return found


def _length_allowed(host: str, url: str, scheme: str) -> bool:
    # Lengths are JavaScript's, in UTF-16 units, and the vendor counts the scheme twice.
    longest = _LONGEST_URL - len(scheme or "https://")
    if len(url) > longest // 2 and len(url) + sum(map(len, _ASTRAL.findall(url))) > longest:
        return False
    if host.startswith("xn--") and not _latin_hosts(host):
        return False
    if len(host) <= _LONGEST_LABEL and host.isascii():
        return True
    return all(_punycode_length(label) <= _LONGEST_LABEL for label in host.split("."))


def _punycode_length(label: str) -> int:
    # Up to seven code points fit in any case: each takes eight digits at most.
    if not 7 < len(label) <= _LONGEST_LABEL or label.isascii():
        return len(label)
    parts = _LABEL_SEPARATORS.split(label)
    return len(parts) - 1 + sum(len(p) if p.isascii() else len("xn--") + len(p.encode("punycode")) for p in parts)
