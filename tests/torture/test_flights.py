"""Ten thousand evenings of one ticket: never undecided, never twice, never too public."""

from __future__ import annotations

import pytest

from support.flights import play


@pytest.mark.torture
def test_no_order_of_ten_thousand_breaks_a_promise() -> None:
    posts = sum(len(play(seed).posts) for seed in range(10_000, 20_000))
    assert posts > 1_000
