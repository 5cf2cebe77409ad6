"""Mails taken apart: headers, words, files. Whatever is broken in one is read as well as can be (RFC 2045 to 2047)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email import message_from_bytes
from email.errors import HeaderParseError
from email.header import decode_header
from email.message import Message
from email.policy import compat32
from email.utils import parsedate_to_datetime

from gateway_email.addresses import people_of
from gateway_email.html import html_text
from gateway_schemas.errors import Malformed
from gateway_schemas.text import clean

DEEPEST = 30
MOST_PARTS = 300
MOST_BOUNDARIES = 300
"""Multiparts of one mail: the standard library's parser takes quadratic time for what stands in one another."""
MOST_HEADERS = 128 * 1024
"""Bytes of a mail's headers; mail servers take less."""
LONGEST_HEADER = 20_000
"""Characters of one header that are read."""
MOST_TEXT = 400_000
"""Characters of one mail's words that are read."""
SMALLEST_PICTURE = 2_000
"""Bytes below which a picture within the text is a line, a logo or a counter, and no attachment."""
_NOT_CHARSETS = frozenset({"idna", "punycode", "undefined", "unicode_escape", "raw_unicode_escape", "mbcs", "oem"})
"""Codecs of Python's that no mail is in, and some of which take quadratic time."""
_CONTROL = re.compile(r"[\x00-\x1f\x7f\u2028\u2029]+")


@dataclass(frozen=True)
class File:
    """One attachment: where it stands in the mail, and its bytes."""

    index: int
    name: str | None
    media_type: str
    body: bytes
    inline: bool


@dataclass
class Mail:
    """One mail, read."""

    head: Message
    text: str = ""
    html: str | None = None
    """The HTML that the words were read from; None where they came as plain text."""
    files: list[File] = field(default_factory=list)
    whole: bool = True
    """Whether all of it was read: no part too many, nothing nested too deeply."""

    def header(self, name: str) -> str | None:
        """A header's first value, unfolded and decoded; None when absent."""
        return next(iter(self.headers(name)), None)

    def headers(self, name: str) -> list[str]:
        """All values of a header."""
        return [header_text(value) for value in self.head.get_all(name, [])]

    def raw(self, name: str) -> str:
        """A header's first value, unfolded and not decoded; empty when absent."""
        return _unfolded(self.head.get(name, ""))

    def raws(self, name: str) -> list[str]:
        """All values of a header, unfolded and not decoded."""
        return [_unfolded(value) for value in self.head.get_all(name, [])]

    def people(self, name: str) -> list[tuple[str, str]]:
        """Names and addresses of a header that lists people."""
        found = [person for value in self.raws(name) for person in people_of(value)]
        return [(header_text(shown)[:200], address) for shown, address in found]

    @property
    def date(self) -> datetime | None:
        """The time it says it was written; None when it says none that can be read."""
        try:
            at = parsedate_to_datetime(self.raw("date"))
            return (at if at.tzinfo is not None else at.replace(tzinfo=UTC)).astimezone(UTC)
        except (ValueError, OverflowError, TypeError, IndexError):
            return None


def parsed(raw: bytes) -> Message:
    """A mail as the standard library sees it. Raises Malformed for what nests without end."""
    try:
        return message_from_bytes(raw, policy=compat32)
    except (RecursionError, AssertionError) as error:
        raise Malformed("the mail is nested too deeply", code="too_deep") from error


def read(raw: bytes) -> Mail:
    """Read a mail. Raises Malformed for one that is no mail at all."""
    if header_end(raw) > MOST_HEADERS:
        raise Malformed(f"the mail has more than {MOST_HEADERS} bytes of headers", code="too_large")
    if raw.lower().count(b"boundary=") > MOST_BOUNDARIES:
        raise Malformed("the mail is nested too deeply", code="too_deep")
    head = parsed(raw)
    if not head.keys():
        raise Malformed("the mail has no headers", code="no_headers")
    mail = Mail(head)
    plain: list[str] = []
    marked: list[str] = []
    try:
        for index, (part, alternative) in enumerate(leaves(head, mail)):
            _take(mail, part, index, alternative, plain, marked)
    except RecursionError as error:
        raise Malformed("the mail is nested too deeply", code="too_deep") from error
    text = "\n\n".join(one for one in plain if one.strip())
    if not text.strip() and marked:
        mail.html = "\n".join(marked)[:MOST_TEXT]
        text = html_text(mail.html)
    mail.text = clean(text[:MOST_TEXT])
    mail.whole = mail.whole and len(text) <= MOST_TEXT
    return mail


def header_end(raw: bytes) -> int:
    """How many bytes the headers have."""
    ends = [at for at in (raw.find(b"\r\n\r\n"), raw.find(b"\n\n")) if at >= 0]
    return min(ends, default=len(raw))


def header_text(value: object) -> str:
    """A header's value as a reader sees it: one line, encoded words decoded, whatever charset they claim."""
    line = _unfolded(value)
    if "=?" not in line:
        return line
    try:
        pieces = decode_header(line)
    except (HeaderParseError, ValueError):
        return line
    found = [piece if isinstance(piece, str) else decoded(piece, charset) for piece, charset in pieces]
    return _CONTROL.sub(" ", "".join(found)).strip()


def decoded(raw: bytes, charset: str | None) -> str:
    """Bytes as text: in the charset they claim, else UTF-8, else as Windows has it."""
    for name in (charset, "utf-8"):
        if not name or name.lower().replace("-", "_") in _NOT_CHARSETS or len(name) > 40:
            continue
        try:
            return raw.decode(name)
        except (LookupError, ValueError):
            continue
    return raw.decode("cp1252", "replace")


def file_name(part: Message) -> str | None:
    """The name of an attachment: without folders and control characters."""
    try:
        given = part.get_filename()
    except (ValueError, LookupError, TypeError, IndexError):
        given = None
    name = header_text(given or "").replace("\\", "/").rpartition("/")[2]
    return clean(_CONTROL.sub(" ", name).strip()[-150:]) or None


def leaves(part: Message, mail: Mail) -> Iterator[tuple[Message, bool]]:
    """The parts that have content, in order; whether one is an alternative to another. A mail within is one part."""
    stack: list[tuple[Message, int, bool]] = [(part, 0, False)]
    seen = 0
    while stack:
        one, depth, alternative = stack.pop()
        content = one.get_payload()
        if isinstance(content, list) and one.get_content_maintype() == "multipart":
            if depth >= DEEPEST:
                mail.whole = False
                continue
            within = alternative or one.get_content_subtype() == "alternative"
            stack += [(inner, depth + 1, within) for inner in reversed(content) if isinstance(inner, Message)]
            continue
        seen += 1
        if seen > MOST_PARTS:
            mail.whole = False
            return
        yield one, alternative


def _take(mail: Mail, part: Message, index: int, alternative: bool, plain: list[str], marked: list[str]) -> None:
    kind, name = part.get_content_type(), file_name(part)
    disposition = part.get_content_disposition()
    attached = disposition == "attachment" or (name is not None and not kind.startswith("text/"))
    if not attached and kind == "text/plain":
        text = decoded(_bytes(part), _charset(part))
        plain.append(_flowed(text) if part.get_param("format") == "flowed" else text.replace("\r\n", "\n"))
    elif not attached and kind == "text/html":
        # beside a plain text that says the same; else words of their own
        marked.append(decoded(_bytes(part), _charset(part)))
        if not alternative and plain:
            plain.append(html_text(marked[-1][:MOST_TEXT]))
    else:
        body = part.as_bytes() if kind == "message/rfc822" else _bytes(part)
        inline = disposition == "inline" or (part.get("content-id") is not None and not attached)
        if kind.startswith("image/") and part.get("content-id") is not None and len(body) < SMALLEST_PICTURE:
            return
        mail.files.append(File(index, name or _inner_name(part), kind, body, inline))


def _inner_name(part: Message) -> str | None:
    """A forwarded mail is named after its subject."""
    inner = part.get_payload()
    if part.get_content_type() != "message/rfc822" or not isinstance(inner, list) or not inner:
        return None
    subject = header_text(inner[0].get("subject", "")) if isinstance(inner[0], Message) else ""
    return f"{subject[:100].replace('/', '-') or 'mail'}.eml"


def _bytes(part: Message) -> bytes:
    try:
        found = part.get_payload(decode=True)
    except (ValueError, LookupError, AssertionError):
        found = None
    return found if isinstance(found, bytes) else b""


def _charset(part: Message) -> str | None:
    try:
        return part.get_content_charset()
    except (ValueError, LookupError, TypeError):
        return None


def _unfolded(value: object) -> str:
    text = str(value)[:LONGEST_HEADER]
    if any(0xDC80 <= ord(one) <= 0xDCFF for one in text):  # bytes that are no ASCII, as the parser keeps them
        text = decoded(text.encode("utf-8", "surrogateescape"), None)
    line: str = clean(_CONTROL.sub(" ", re.sub(r"\r?\n(?=[ \t])", "", text)).strip())
    return line


def _flowed(text: str) -> str:
    """Lines that end in a blank go on in the next one (RFC 3676); quoted ones are left as they are."""
    found: list[str] = []
    joined = False
    for line in text.replace("\r\n", "\n").split("\n"):
        quoted = line.startswith(">")
        line = line[1:] if line.startswith(" ") else line
        if joined and not quoted:
            found[-1] += line
        else:
            found.append(line)
        joined = line.endswith(" ") and not quoted and line != "-- "
    return "\n".join(found)
