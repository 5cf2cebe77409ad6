"""Language packs: what is known of a language, as data, one file for each family of signals.

`packs/<language>/<family>.toml` holds

    [classes]        # <family>.<name>: single words that patterns use as <name>
    object = ["review", "post"]
    [concepts]       # <family>.<name>: patterns, see `lexicon`
    voucher = ["voucher", "gift card*"]

and `common.toml`, which every family builds on, also

    [recognition]    # what the language is known by
    words = ["the", "and"]
    endings = ["tion"]
    letters = "ß"
    [endings]        # what `stem+name` spells out to
    e = ["e", "es", "ed", "ing"]
    [aliases]        # how people abbreviate
    u = "you"

A family may add `[endings]` of its own. All files of a language are compiled to one lexicon, on first use.
"""

from __future__ import annotations

import hashlib
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

from gateway_reading.fold import bare
from gateway_reading.lexicon import Lexicon
from gateway_reading.vocabulary import PackError

LANGUAGES = ("en", "es", "fr", "de", "pt", "it")
"""Primary language subtags that have a pack."""
_SECTIONS = {"aliases", "classes", "concepts", "endings", "recognition"}


@dataclass(frozen=True, slots=True)
class Pack:
    """One language's compiled lexicon."""

    language: str
    lexicon: Lexicon


def _folder() -> Traversable:
    return files("gateway_reading") / "packs"


def _read(file: Traversable, name: str) -> dict[str, Any]:
    try:
        content = tomllib.loads(file.read_text("utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise PackError(f"{name}: {error}") from error
    if unknown := content.keys() - _SECTIONS:
        raise PackError(f"{name}: unknown section {', '.join(sorted(unknown))}")
    return content


@cache
def _families(language: str) -> dict[str, dict[str, Any]]:
    folder = _folder() / language
    names = sorted(each.name for each in folder.iterdir() if each.name.endswith(".toml"))
    return {name.removesuffix(".toml"): _read(folder / name, f"{language}/{name}") for name in names}


@cache
def load(language: str) -> Pack:
    """The pack of a language in `LANGUAGES`; compiled once in a process. Raises PackError where its data is wrong."""
    families = _families(language)
    lexicon = Lexicon(language, families["common"]["recognition"]["words"])
    vocabulary = lexicon.vocabulary
    vocabulary.not_typos = frozenset(map(bare, families["common"]["classes"].get("not_typos", ())))
    ordered = ["common", *(family for family in families if family != "common")]
    for written, meant in families["common"].get("aliases", {}).items():
        vocabulary.alias(written, meant)
    for family in ordered:
        for name, endings in families[family].get("endings", {}).items():
            vocabulary.endings(name, endings)
    for family in ordered:
        for name, words in families[family].get("classes", {}).items():
            vocabulary.define(f"{family}.{name}", words)
    for family in ordered:
        for name, patterns in families[family].get("concepts", {}).items():
            for pattern in patterns:
                try:
                    lexicon.add(f"{family}.{name}", pattern, family)
                except PackError as error:
                    raise PackError(f"{language}/{family}.toml: {error}") from error
    return Pack(language, lexicon)


Telling = dict[str, tuple[str, ...]]
"""The languages that a word, an ending or a letter speaks for."""


@cache
def recognition() -> tuple[Telling, Telling, Telling]:
    """Words, endings and letters by which languages are recognised.

    `packs/others.toml` lists words of languages without a pack, so that those are not taken for a neighbour.
    """
    profiles = {language: _families(language)["common"]["recognition"] for language in LANGUAGES}
    profiles |= tomllib.loads((_folder() / "others.toml").read_text("utf-8"))
    tables: tuple[dict[str, list[str]], ...] = ({}, {}, {})
    for language, profile in profiles.items():
        for table, tokens in zip(tables, (profile["words"], profile.get("endings", ()), ()), strict=True):
            for token in dict.fromkeys(map(bare, tokens)):
                table.setdefault(token, []).append(language)
        for letter in profile.get("letters", ""):
            tables[2].setdefault(letter, []).append(language)
    words, endings, letters = ({key: tuple(names) for key, names in table.items()} for table in tables)
    return words, endings, letters


def digest() -> str:
    """Eight bytes, in hexadecimal, that change with any file of this package: code or data."""
    found = hashlib.sha256()
    waiting = [files("gateway_reading")]
    while waiting:
        for each in sorted(waiting.pop().iterdir(), key=lambda entry: entry.name):
            if each.is_dir() and each.name != "__pycache__":
                waiting.append(each)
            elif each.name.endswith((".py", ".toml", ".json", ".bin")):
                found.update(each.name.encode() + b"\0" + each.read_bytes() + b"\0")
    return found.hexdigest()[:16]
