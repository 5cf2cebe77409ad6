"""A macro is known again by its words, whoever it greets."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.pipeline.alike import ALIKE, bands_of, likeness, name_of

MACRO = (
    "Hello {name}, we are sorry that your parcel {number} is late. Our depot had a power cut on Friday and everything "
    "stood still for a day. Yours is on its way now and should arrive by tomorrow evening at the latest. Follow it "
    "here: {link}"
)


def macro(name: str, number: int) -> str:
    return MACRO.format(name=name, number=number, link=f"https://acme.example/t/{number}")


def test_a_macro_is_near_identical_to_itself_for_somebody_else() -> None:
    one, other = macro("Rita", 4711), macro("Bob Miller", 88)
    assert likeness(one, other) >= ALIKE
    assert set(bands_of(one)) & set(bands_of(other))
    assert name_of(one) != name_of(other)
    assert name_of("@rita Order 4711 is late!") == name_of("@bob order 88 is late")


def test_what_people_write_themselves_is_not() -> None:
    one = macro("Rita", 1)
    for other in (
        "We found your parcel, Rita. It went to the wrong depot; the driver brings it tonight.",
        "Hello Rita, we are sorry that your dress came in the wrong size. Send it back free of charge.",
        "",
        "👍",
    ):
        assert likeness(one, other) < ALIKE


def test_short_texts_are_compared_as_they_are() -> None:
    assert likeness("Please DM us!", "@bob please dm us") == 1
    assert likeness("Please DM us", "Please call us") == 0
    assert set(bands_of("Please DM us!")) == set(bands_of("@bob please dm us"))
    assert bands_of("") == bands_of("👍 123") == []


@given(st.text(max_size=400), st.text(max_size=400))
def test_the_measure_is_symmetric_and_equal_words_are_all_alike(one: str, other: str) -> None:
    assert likeness(one, other) == likeness(other, one)
    assert 0 <= likeness(one, other) <= 1
    if name_of(one) == name_of(other):
        assert bands_of(one) == bands_of(other)
        assert likeness(one, other) in (0, 1)


@given(st.lists(st.sampled_from("abcdefghijklmnopqrstuvwxyz"), min_size=40, max_size=80), st.integers(0, 39))
def test_one_word_of_many_does_not_hide_a_macro(words: list[str], at: int) -> None:
    one, other = " ".join(words), " ".join([*words[:at], "different", *words[at + 1 :]])
    if likeness(one, other) >= 0.9:
        assert set(bands_of(one)) & set(bands_of(other))
