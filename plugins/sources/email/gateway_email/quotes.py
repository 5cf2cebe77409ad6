"""What is new in a mail: without the history below it and the signature. In doubt everything stays.

Mail programs put a line over what they quote ("On … wrote:", "Am … schrieb …:"), or a block of headers ("From: …
Sent: …"). These forms are told here for English, German, French, Spanish, Italian and Portuguese, line by line and in
linear time.
"""

from __future__ import annotations

import re

from gateway_email.html import QUOTE

LONGEST_LINE = 400
MOST_ATTRIBUTIONS = 20
"""How many lines over quotations are looked below for answers between the quoted lines."""
_ADDRESS = re.compile(r"<[^<>\s@]{1,100}@[^<>\s]{1,200}>")
_ADDRESS_OR_TIME = re.compile(r"@|\d{1,2}[:h.]\d{2}|\d{4}")
_ON = ("on ", "am ", "le ", "el ", "il ", "em ", "a ", "no dia ", "il giorno ", "el día ", "op ")
_WROTE = (
    *("wrote:", "writes:", "said:", "schrieb:", "geschrieben:", "a écrit :", "a écrit:", "écrivait :", "écrit :"),
    *("escribió:", "escribio:", "ha scritto:", "scrisse:", "scritto:", "escreveu:", "escreveu :", "escrito:"),
)
_WROTE_WITHIN = (" schrieb ", " wrote ", " a écrit ", " escribió ", " ha scritto ", " escreveu ")
"""For forms that name the writer last: `Am 3.5.2026 um 10:11 schrieb Ada <ada@…>:`."""
_RULES = re.compile(
    r"[-_*\s]{0,12}(?:original(?: message|nachricht|-nachricht)|ursprüngliche nachricht|weitergeleitete nachricht"
    r"|forwarded message|reply message|message d.origine|message original|message transféré|message transmis"
    r"|mensaje original|mensaje reenviado|messaggio originale|messaggio inoltrato|mensagem original"
    r"|mensagem encaminhada)[-_*:\s]{0,12}",
    re.IGNORECASE,
)
_FROM = ("from", "von", "de", "da", "desde")
_HEADERS = frozenset(
    {"sent", "date", "to", "subject", "cc", "gesendet", "datum", "an", "betreff", "envoyé", "à", "objet", "enviado"}
    | {"enviado el", "fecha", "para", "asunto", "inviato", "data", "a", "oggetto", "enviada em", "assunto"}
)
_UNDERLINE = re.compile(r"[_]{20,}|[-]{25,}")
_SIGNATURES = re.compile(
    r"(?:sent from my |von meinem .{0,40} gesendet|gesendet mit |envoyé de mon |envoyé depuis |enviado desde mi "
    r"|inviato da |enviado do meu |get outlook for |sent from outlook|holen sie sich outlook"
    r"|obtenir outlook pour ).{0,80}",
    re.IGNORECASE,
)


def new_words(text: str) -> str:
    """The text without history and signature; where nothing would be left, as it is."""
    lines = text.replace("\r\n", "\n").split("\n")
    kept = _without_signature(lines[: _history_at(lines)])
    found = "\n".join(line for line in kept if line != QUOTE).strip()
    if found:
        return found
    return "\n".join(line for line in lines if line != QUOTE).strip()


def _history_at(lines: list[str]) -> int:
    """The line at which the history begins; behind the last one where there is none.

    Answers that stand between quoted lines are kept, and the lines with them: without these nobody could read them.
    """
    last_own = max((at for at, line in enumerate(lines) if _own(line)), default=-1)
    looked = 0
    for at, line in enumerate(lines):
        if line == QUOTE:
            return _before_heading(lines, at)
        shown = line.strip()
        if _RULES.fullmatch(shown) or _header_block(lines, at):
            return _before_underline(lines, at)
        end = _attribution(lines, at)
        if end is not None:
            looked += 1
            if looked > MOST_ATTRIBUTIONS or _answered_between(lines, end):
                continue
            return at
        if shown.startswith(">") and at > last_own:
            return at
    return len(lines)


def _attribution(lines: list[str], at: int) -> int | None:
    """Where the line over a quotation ends, if one begins here: it may go over up to four lines."""
    first = lines[at].strip().lstrip("> ").lower()
    if not first or len(first) > LONGEST_LINE:
        return None
    joined = ""
    for end in range(at, min(at + 4, len(lines))):
        part = lines[end].strip().lstrip("> ")
        if not part and end > at:
            return None
        joined = f"{joined} {part}".strip()
        if len(joined) > LONGEST_LINE:
            return None
        shown = joined.lower().rstrip()
        if not shown.endswith(":"):
            continue
        told = shown.endswith(_WROTE) or any(word in shown for word in _WROTE_WITHIN)
        sure = first.startswith(_ON) or shown.endswith(_WROTE) or _ADDRESS.search(shown) is not None
        if told and sure and _ADDRESS_OR_TIME.search(shown):
            return end + 1
        return None
    return None


def _answered_between(lines: list[str], start: int) -> bool:
    """Whether words of the writer's own stand below quoted lines."""
    quoted = [at for at in range(start, len(lines)) if lines[at].lstrip().startswith(">")]
    if not quoted or any(_own(line) for line in lines[start : quoted[0]]):
        return False  # the history is not marked line by line: nothing tells it from an answer
    return any(_own(line) for line in _without_signature(lines[quoted[0] :]))


def _own(line: str) -> bool:
    shown = line.strip()
    return bool(shown) and line != QUOTE and not shown.startswith(">")


def _header_block(lines: list[str], at: int) -> bool:
    """Whether the headers of an older mail begin here: From, and two others of them in the next lines."""
    name = _header_name(lines[at])
    if name not in _FROM:
        return False
    following = [_header_name(line) for line in lines[at + 1 : at + 7]]
    return sum(name in _HEADERS for name in following) >= 2


def _header_name(line: str) -> str:
    name, colon, value = line.strip().lstrip("> ").partition(":")
    return name.strip("* \u00a0").lower() if colon and value.strip(" *") and len(name) < 24 else ""


def _before_underline(lines: list[str], at: int) -> int:
    """Outlook draws a line over the headers."""
    while at > 0 and (not lines[at - 1].strip() or _UNDERLINE.fullmatch(lines[at - 1].strip())):
        at -= 1
    return at


def _before_heading(lines: list[str], at: int) -> int:
    """A marked quotation may have its attribution above the mark."""
    above = at
    while above > 0 and not lines[above - 1].strip():
        above -= 1
    for start in range(max(0, above - 4), above):
        if _attribution(lines[:above], start) == above:
            return start
    return at


def _without_signature(lines: list[str]) -> list[str]:
    """Up to a signature's separator ("-- "), or the line that a phone adds at the end."""
    for at, line in enumerate(lines):
        if line.rstrip("\r") in ("-- ", "--") and at > 0:
            return lines[:at]
    end = len(lines)
    while end > 0 and not lines[end - 1].strip():
        end -= 1
    if end > 1 and _SIGNATURES.fullmatch(lines[end - 1].strip()):
        return lines[: end - 1]
    return lines
