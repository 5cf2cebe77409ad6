"""Sentences, clauses, quotation, negation, reported speech and the language of a text."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

import pytest

from gateway_reading.lexicon import Lexicon, Span
from gateway_reading.pack import LANGUAGES, load
from gateway_reading.prepared import Prepared, prepare
from gateway_reading.tokens import LONGEST_SENTENCE, scan
from gateway_reading.vocabulary import PackError


def find(lexicon: Lexicon, text: str) -> list[str]:
    tokens, sentences, _ = scan(text)
    return [
        " ".join(token.form for token in tokens[span.first : span.last])
        for span in lexicon.find(tokens, [sentences[token.sentence].last for token in tokens])
    ]


def word(prepared: Prepared, form: str) -> Span:
    index = next(index for index, token in enumerate(prepared.tokens) if token.form == form)
    return Span("", index, index + 1)


def test_sentences_end_where_people_end_them() -> None:
    _, sentences, _ = scan("We use e.g. z. B. this, at 10.30 on x.org. Really? Yes!!! Bye…")
    assert len(sentences) == 4
    assert [sentence.question for sentence in sentences] == [False, True, False, False]


def test_what_is_quoted_is_known() -> None:
    text = "You wrote \"delete it\" and « retirez » and „löschen“ but it's fine, don't\n> old text\nnew"
    tokens, _, _ = scan(text)
    assert [token.form for token in tokens if token.quoted] == ["delete", "it", "retirez", "loschen", "old", "text"]


@pytest.mark.parametrize(
    ("text", "form", "negated"),
    [
        ("We will not delete it", "delete", True),
        ("We never delete", "delete", True),
        ("Not now, delete it", "delete", False),
        ("Please don't hesitate to delete it", "delete", False),
        ("Wir löschen das nicht und danken", "loschen", True),
        ("Nous ne pouvons pas supprimer cela", "supprimer", True),
        ("No podemos eliminar la reseña", "eliminar", True),
        ("Não podemos apagar isso", "apagar", True),
        ("Non possiamo cancellare la recensione", "cancellare", True),
    ],
)
def test_negation_governs_its_clause(text: str, form: str, negated: bool) -> None:
    prepared = prepare(text, "brand")
    assert prepared.negated(word(prepared, form)) is negated


@pytest.mark.parametrize(
    ("text", "given", "language", "coverage"),
    [
        ("We are sorry to hear about this and will look into it.", None, "en", "full"),
        ("Lamentamos mucho lo ocurrido y vamos a revisarlo con el equipo.", None, "es", "full"),
        ("Nous sommes désolés et nous allons regarder cela avec vous.", None, "fr", "full"),
        ("Es tut uns leid, wir schauen uns das an und melden uns.", None, "de", "full"),
        ("Lamentamos o sucedido e vamos verificar isso com você.", None, "pt", "full"),
        ("Ci dispiace molto per quanto è successo, vi faremo sapere.", None, "it", "full"),
        ("Het spijt ons, wij gaan er naar kijken en laten het je weten.", None, "nl", "none"),
        ("Het spijt ons, wij gaan er naar kijken en laten het je weten.", "de", "nl", "none"),
        ("Przykro nam, że tak się stało, proszę napisać do nas.", None, "pl", "none"),
        ("Спасибо, мы посмотрим.", "ru", "ru", "none"),
        ("We are sorry about that and will check it for you.", "es-MX", "en", "full"),
        ("Danke!", "de-AT", "de-AT", "full"),
        ("ok", None, None, "partial"),
    ],
)  # fmt: skip
def test_the_language_is_recognised_or_said_to_be_unknown(
    text: str, given: str | None, language: str | None, coverage: str
) -> None:
    prepared = prepare(text, "brand", language=given)
    assert (prepared.language, prepared.coverage) == (language, coverage)


def test_a_mixed_text_is_read_in_both_languages_and_said_to_be_read_in_part() -> None:
    text = "Sorry for this, we will check it with you. Lamentamos lo ocurrido y no vamos a revisarlo con el equipo."
    prepared = prepare(text, "brand")
    assert prepared.coverage == "partial"
    assert prepared.negated(word(prepared, "vamos"))


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_pack_compiles(language: str) -> None:
    assert load(language).lexicon.root.edges


def ends_of(pieces: Sequence[str], words: Sequence[str], at: int) -> Iterator[int]:
    """Where a pattern may end in a sentence, by trying everything."""
    if not pieces:
        yield at
    elif pieces[0].startswith(".."):
        for gap in range(min(int(pieces[0][2:]), len(words) - at) + 1):
            yield from ends_of(pieces[1:], words, at + gap)
    elif at < len(words) and pieces[0].removesuffix("?") in ("_", words[at]):
        yield from ends_of(pieces[1:], words, at + 1)
    if pieces and pieces[0].endswith("?"):
        yield from ends_of(pieces[1:], words, at)


@pytest.mark.parametrize("seed", range(30))
def test_what_is_found_is_what_trying_everything_finds(seed: int) -> None:
    chance = random.Random(seed)
    words = ("alder", "birch", "cedar", "elder", "hazel")
    lexicon = Lexicon("en")
    patterns: dict[str, list[str]] = {}
    for number in range(chance.randrange(1, 40)):
        pieces = [chance.choice(words)]
        for _ in range(chance.randrange(4)):
            pieces.append(chance.choice([*words, *(f"{word}?" for word in words), "_", "..1", "..2", "..3"]))
        patterns[f"x.{number}"] = pieces
        lexicon.add(f"x.{number}", " ".join(pieces), "x")
    for _ in range(10):
        text = [[chance.choice((*words, "other")) for _ in range(chance.randrange(1, 12))] for _ in range(3)]
        tokens, sentences, _ = scan(". ".join(" ".join(sentence).capitalize() for sentence in text))
        found = lexicon.find(tokens, [sentences[token.sentence].last for token in tokens])
        expected, first = [], 0
        for sentence in text:
            for at in range(len(sentence)):
                for concept, pieces in patterns.items():
                    if ends := list(ends_of(pieces, sentence, at)):
                        expected.append((concept, first + at, first + max(ends)))
            first += len(sentence)
        assert sorted(found) == sorted(expected)


def test_patterns_say_what_they_match() -> None:
    lexicon = Lexicon("en")
    lexicon.vocabulary.endings("e", ["e", "ed", "ing"])
    lexicon.vocabulary.define("common.object", ["review", "post"])
    for pattern in ("remov+e the? ..2 <object>", "gift card*", "*bon", "# %", "coupon", "don't"):
        lexicon.add("x", pattern, "trade")
    found = find(
        lexicon, "removing your old post. Gift-cards 20% jambon c.o.u.p.o.n c o u p o n cou-pon cuopon dont don’t"
    )
    assert found == [
        *("removing your old post", "gift cards", "20 %", "jambon", "c o u p o n", "c o u p o n", "cou pon", "cuopon"),
        *("dont", "don t"),
    ]
    assert find(lexicon, "remove it. Post") == []


@pytest.mark.parametrize("pattern", ["", "a? b?", "remov+zz", "<nothing>", "**"])
def test_a_pattern_that_cannot_work_is_refused(pattern: str) -> None:
    with pytest.raises(PackError):
        Lexicon("en").add("x", pattern, "trade")


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(
    "piece",
    [
        *(
            "a ",
            "a-",
            "if you ",
            "remove the ",
            '"',
            "„",
            "don't ",
            "&amp;",
            "aaaa",
            "20% ",
            "c o u p o n ",
            "re-mo-ve-",
        ),
        *("@", "1.", "0o0o", "$$a$"),
    ],
)
def test_twice_the_text_takes_at_most_twice_the_steps(language: str, piece: str) -> None:
    steps = []
    for size in (150, 300, 600):
        tokens, sentences, _ = scan(piece * size)
        lexicon = load(language).lexicon
        lexicon.find(tokens, [sentences[token.sentence].last for token in tokens])
        steps.append(lexicon.steps)
    assert steps[1] <= 2.2 * steps[0] + 50
    assert steps[2] <= 2.2 * steps[1] + 50


def test_no_sentence_is_longer_than_its_limit() -> None:
    """What a family looks at around a word is bounded, so that its work grows with the text and no faster."""
    _, sentences, clauses = scan("delete your review and get a voucher if you can " * 500)
    assert max(sentence.last - sentence.first for sentence in sentences) <= LONGEST_SENTENCE
    assert max(clause.last - clause.first for clause in clauses) <= LONGEST_SENTENCE
