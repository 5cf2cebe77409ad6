"""Tokens: a text cut into words, numbers, symbols and emoji, with what stands between them.

Cutting is one pass of one regular expression without nested repetition: its time grows with the text and nothing else.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from gateway_reading.fold import INVISIBLE, MARKS, fold, unescape

Kind = Literal["word", "number", "symbol", "emoji", "url", "handle"]

_CIRCLED = "\u24b6-\u24e9\U0001f130-\U0001f149\U0001f150-\U0001f169\U0001f170-\U0001f189"
_L = rf"(?:[^\W_]|[{MARKS}{INVISIBLE}{_CIRCLED}])"
_SCAN = re.compile(
    rf"""
    (?P<url>https?://[^\s<>"]+ | www\.[^\s<>"]+)
  | (?P<email>[\w.+-]{{1,64}}@[\w-]+\.[\w.-]*\w)
  | (?P<handle>(?<![^\s(\[{{.,;:!?'"]) @[\w.]*\w)
  | (?P<number>\d{{1,3}}(?:[.,' ’]\d{{3}})+(?:[.,]\d{{1,2}})?(?![\w])
      | \d+(?:[.,:]\d+)?(?![^\W_])
      | \d+(?:[.,]\d+)?(?=[^\W\d_]{{1,5}}\b))
  | (?P<word>(?:[^\W_]|[{_CIRCLED}]){_L}*(?:[@$!|€£*](?={_L}){_L}+)*)
  | (?P<symbol>[%€$£¥₹+=&#/→➡✓✔⇒])
  | (?P<emoji>[\u2600-\u27bf\u2b50\u2b55\U0001f000-\U0001f3fa\U0001f400-\U0001faff])
    """,
    re.VERBOSE,
)
_BREAK = re.compile(r"[!?…。！？]|\.(?:[\s\"'”»)\]]|$)|\.{2,}|\n\s*\n")
_PAUSE = re.compile(r"[,;:()\[\]–—\n]|\s-\s")
_SPACED = re.compile(r"[^\S\n]{2,}|\n")
_ABBREVIATIONS = frozenset("abcdeghimnopuvz") | frozenset(
    {"bzw", "ca", "etc", "nr", "no", "st", "sr", "sra", "dr", "dra", "mr", "mrs", "ms", "mme", "vs", "resp", "inkl"}
    | {"zzgl", "ggf", "evtl", "usw", "ud", "uds", "vd", "vds", "ej", "ex", "art", "av", "dott", "sig"}
)
_MONTHS = frozenset(
    ["jan", "jän", "jae", "feb", "mär", "mae", "apr", "mai", "jun", "jul", "aug", "sep", "okt", "nov", "dez"]
)
_OPEN, _CLOSE = "“„«‹「『‟", "”»›」』"
_QUOTES = re.compile(r"[\"“”„«»‹›「」『』‟]|(?<![^\s(\[])['‘‚](?=\w)|(?<=[\w.!?,])['’](?![^\s.,;:!?)\]])")

EMOJI = {
    ":gift:": "🎁🎀🛍🧧",
    ":money:": "💶💵💷💴💰💸🪙🤑",
    ":voucher:": "🎟🎫🏷",
    ":star:": "⭐🌟★☆✩✮",
    ":delete:": "🗑❌🚮🧹",
    ":edit:": "✏✍📝🖊",
    ":thumbsup:": "👍👌🙌✅✔☑🤝",
    ":thumbsdown:": "👎",
    ":smile:": "😊😀😃😄😁🙂😉😍🥰😇😘😎🤩☺",
    ":sad:": "😢😭😞😔🙁☹😟😕😥",
    ":angry:": "😡😠🤬👿",
    ":laugh:": "😂🤣😆😅",
    ":mockery:": "🙄🤡🤦😒👏",
    ":pray:": "🙏",
    ":heart:": "❤💛💚💙💜🧡💕💖",
    ":alarm:": "🚨🔥⚠🆘☠",
    ":arrow:": "➡→⇒▶👉",
}
_EMOJI = {character: name for name, characters in EMOJI.items() for character in characters}
LONGEST_SENTENCE = 120
"""Tokens; what goes on is read as the next sentence, so that no text makes a family's work grow faster than itself."""
_CURRENCY = "€$£¥₹"


@dataclass(slots=True)
class Token:
    """One piece of a text. `start` and `end` are code points of the text as given."""

    kind: Kind
    start: int
    end: int
    accented: str
    forms: tuple[str, ...]
    glue: str
    """What joins it to the token before: nothing, `-`, `'`, `.`, `_`; a space for anything else."""
    wide: bool = False
    """Whether more than one space stands before it."""
    sentence: int = 0
    clause: int = 0
    quoted: bool = False

    @property
    def form(self) -> str:
        """The plain form: lower case, without accents."""
        return self.forms[0]


@dataclass(slots=True)
class Stretch:
    """A sentence or a clause: tokens `first` up to, not including, `last`."""

    first: int
    last: int
    question: bool = False


def _glue(between: str) -> str:
    if not between:
        return ""
    return between if len(between) == 1 and between in "-'’‘.·_•/‐‑*+~|" else " "


def _quoted(text: str) -> list[tuple[int, int]]:
    """The quoted stretches, one pass: an opening mark counts once its closing one is found in the same paragraph."""
    stretches: list[tuple[int, int]] = []
    opened: int | None = None
    for match in _QUOTES.finditer(text):
        mark, at = match[0], match.start()
        if opened is None or "\n\n" in text[opened : min(at, opened + 1200)] or at - opened > 1200:
            opened = None if mark in _CLOSE and mark != "»" and mark != "”" else at
        elif mark in _OPEN and mark not in "“«":
            opened = at
        else:
            stretches.append((opened, at))
            opened = None
    position = 0
    for line in text.splitlines(keepends=True):
        if line.lstrip().startswith((">", "&gt;")):
            stretches.append((position, position + len(line)))
        position += len(line)
    stretches.sort()
    return stretches


def scan(text: str) -> tuple[list[Token], list[Stretch], list[Stretch]]:
    """The tokens of a text, its sentences and its clauses; clauses end at punctuation here, at conjunctions later."""
    plain, offsets = unescape(text)
    tokens: list[Token] = []
    sentences: list[Stretch] = []
    clauses: list[Stretch] = []
    previous = 0
    for match in _SCAN.finditer(plain):
        kind, start, end = match.lastgroup or "word", match.start(), match.end()
        between = plain[previous:start]
        index = len(tokens)
        glue = _glue(between) if index else " "
        if not index:
            sentences.append(Stretch(0, 0))
            clauses.append(Stretch(0, 0))
        elif glue == " " and not between.isspace():
            if between == ". " and _goes_on(tokens[-1], match[0]):
                pass
            elif (stop := _BREAK.search(between)) and not (between == ". " and tokens[-1].form in _ABBREVIATIONS):
                sentences[-1].question = "?" in between or "？" in between
                sentences.append(Stretch(index, index))
                clauses.append(Stretch(index, index))
            elif stop or _PAUSE.search(between):
                clauses.append(Stretch(index, index))
        elif kind == "word" and tokens[-1].kind == "emoji" and clauses[-1].first < index - 1:
            if match[0][0].isupper():  # a face instead of a full stop
                sentences.append(Stretch(index, index))
            clauses.append(Stretch(index, index))
        elif "\n" in between:
            if between.count("\n") > 1:
                sentences.append(Stretch(index, index))
            clauses.append(Stretch(index, index))
        if index - sentences[-1].first >= LONGEST_SENTENCE:
            sentences.append(Stretch(index, index))
            clauses.append(Stretch(index, index))
        token = _token(kind, match[0], start, end, glue)
        token.wide = between != " " and _SPACED.search(between) is not None
        token.sentence, token.clause = len(sentences) - 1, len(clauses) - 1
        tokens.append(token)
        sentences[-1].last = clauses[-1].last = index + 1
        previous = end
    if tokens:
        sentences[-1].question = "?" in plain[previous:] or "？" in plain[previous:]
        _mark_quoted(plain, tokens)
    if offsets is not None:
        for token in tokens:
            token.start, token.end = offsets.start(token.start), offsets.end(token.end)
    return tokens, sentences, clauses


def _goes_on(before: Token, word: str) -> bool:
    """Whether the stop behind a number is that of an ordinal or a date (`14. März`, `bis 20.03. um acht`)."""
    return before.kind == "number" and len(before.form) <= 5 and (word[0].islower() or word[:3].lower() in _MONTHS)


def _token(kind: str, written: str, start: int, end: int, glue: str) -> Token:
    if kind == "word":
        folded = fold(written)
        return Token("word", start, end, folded.accented, folded.forms, glue)
    if kind == "number":
        return Token("number", start, end, written, (written, "#"), glue)
    if kind == "emoji":
        shown = _EMOJI.get(written, ":emoji:")
        return Token("emoji", start, end, shown, (shown,), glue)
    if kind == "symbol":
        if name := _EMOJI.get(written):
            return Token("emoji", start, end, name, (name,), glue)
        return Token("symbol", start, end, written, (written, "¤") if written in _CURRENCY else (written,), glue)
    if kind == "email":
        return Token("handle", start, end, ":email:", (":email:",), glue)
    return Token("url" if kind == "url" else "handle", start, end, f":{kind}:", (f":{kind}:",), glue)


def _mark_quoted(plain: str, tokens: list[Token]) -> None:
    stretches = iter(_quoted(plain))
    stretch = next(stretches, None)
    for token in tokens:
        while stretch is not None and stretch[1] <= token.start:
            stretch = next(stretches, None)
        if stretch is None:
            return
        token.quoted = stretch[0] <= token.start
