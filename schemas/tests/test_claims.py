"""One-time codes: drawn so that nobody guesses them, found however people write them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway_schemas.claims import ALPHABET, LENGTH, ClaimAddress, claim_in, new_claim, written

CODE = "K7F2Q9XM4TDWB9"


def test_a_drawn_code_is_found_again_however_it_is_written() -> None:
    for _ in range(200):
        code = new_claim()
        assert (len(code), set(code) <= set(ALPHABET)) == (LENGTH, True)
        looks_like = code.replace("0", "o").replace("1", "l")
        for way in (code, code.lower(), written(code), f"Re: [{written(code).lower()}] my parcel", looks_like):
            assert claim_in(way) == code, way


def test_what_is_no_code_is_none() -> None:
    for text in (
        "",
        "Order 4711-88 of 22 November",
        "4006381333931 5",
        "CONGRATULATION",
        CODE[:-1],
        CODE + "X",
        "-" * 999,
    ):
        assert claim_in(text) is None, text
    for at in range(LENGTH - 1):
        other = CODE[:at] + ("8" if CODE[at] != "8" else "W") + CODE[at + 1 :]
        assert claim_in(other) != CODE
    assert claim_in(f"{'A' * 40} {CODE}") == CODE


@given(st.text())
def test_any_text_can_be_looked_at(text: str) -> None:
    found = claim_in(text)
    assert found is None or len(found) == LENGTH


def test_an_address_carries_the_code_where_it_has_a_place_for_it() -> None:
    carrying, plain = ClaimAddress(address="help+{code}@acme.example"), ClaimAddress(address="help@acme.example")
    assert (carrying.carries_code, carrying.to(CODE)) == (True, f"help+{CODE}@acme.example")
    assert (plain.carries_code, plain.to(CODE)) == (False, "help@acme.example")
