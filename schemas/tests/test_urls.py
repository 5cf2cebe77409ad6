"""URLs as X and Mastodon find them; for X against the vendor's own vectors."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from gateway_schemas.urls import MASTODON_RULES, Url, find_urls

VECTORS = Path(__file__).parents[3] / "shared" / "specs" / "x" / "twitter-text-conformance-extract.yml"


def vendor(section: str) -> list[dict[str, Any]]:
    if not VECTORS.exists():
        pytest.skip("the vendor's vectors are not beside the repository")
    cases: list[dict[str, Any]] = yaml.safe_load(VECTORS.read_text("utf-8"))["tests"][section]
    assert cases
    return cases


@pytest.mark.parametrize("section", ["urls", "tco_urls_with_params"])
def test_every_vendor_vector_of_urls(section: str) -> None:
    for case in vendor(section):
        assert [url.text for url in find_urls(case["text"])] == case["expected"], case["description"]


@pytest.mark.parametrize("section", ["urls_with_indices", "urls_with_directional_markers"])
def test_every_vendor_vector_of_positions(section: str) -> None:
    for case in vendor(section):
        found = [{"url": url.text, "indices": [url.start, url.end]} for url in find_urls(case["text"])]
        assert found == case["expected"], case["description"]


HOSTS = ["t.co", "foo.com", "EXAMPLE.Co.JP", "みんな", "рф", "xn--p1ai", "com", "a", "あ", "é", "ß", "中国", "😀"]
SIGNS = [".", "-", "_", "/", "?", "#", "@", "$", "(", ")", ":", ",", "!", "&", "=", " ", "\n", "\u2066", "\ufeff"]
PIECES = st.sampled_from([*HOSTS, *SIGNS, "http://", "https://", ":80", "/path", "/a(b)", "?q=1"])


@given(st.one_of(st.lists(PIECES, max_size=25).map("".join), st.text(st.characters(exclude_categories=()))))
def test_urls_are_slices_in_order_that_do_not_overlap(text: str) -> None:
    for found in (find_urls(text), find_urls(text, MASTODON_RULES)):
        assert all(text[url.start : url.end] == url.text for url in found)
        assert all(one.end <= other.start for one, other in pairwise(found))


@given(st.lists(PIECES, max_size=15).map("".join), st.lists(PIECES, max_size=15).map("".join))
def test_a_line_break_ends_every_url(left: str, right: str) -> None:
    moved = [Url(url.start + len(left) + 1, url.end + len(left) + 1, url.text) for url in find_urls("\n" + right)]
    expected = [*find_urls(left), *(Url(url.start - 1, url.end - 1, url.text) for url in moved)]
    assert find_urls(f"{left}\n{right}") == expected


@pytest.mark.parametrize(
    ("text", "found"),
    [
        # What the vendor's vectors leave open; checked against its JavaScript library, 3.1.0.
        ("http://foo.com/!(x)", ["http://foo.com/"]),
        ("http://foo.com/a(x)", ["http://foo.com/a(x)"]),
        ("http://foo.com/a(b(c)d)e", ["http://foo.com/a(b(c)d)e"]),
        ("http://foo.com/a(b(c", ["http://foo.com/a"]),
        ("foo.com:8080", ["foo.com"]),
        ("foo.com:8080/x", ["foo.com:8080/x"]),
        ("foo.com?x=1", ["foo.com"]),
        ("http://foo.com?x=1", ["http://foo.com?x=1"]),
        ("日本.com", []),
        ("http://日本.com", ["http://日本.com"]),
        ("élan.com", ["lan.com"]),
        ("/foo.com -foo.com _foo.com .foo.com", []),
        ("foo.com@bar foo.com+1 foo.com-x", []),
        ("x@http://foo.com", []),
        ("http://a_b.foo.com http://foo.a_b.com http://foo.b_.com", ["http://a_b.foo.com"]),
        ("http://" + "a" * 63 + ".com http://" + "a" * 64 + ".com", ["http://" + "a" * 63 + ".com"]),
        ("http://a.co/" + "p" * 4077, ["http://a.co/" + "p" * 4077]),
        ("http://a.co/" + "p" * 4078, []),
        ("read more at foo.onion", ["foo.onion"]),
        ("report.pdf and main.py of v1.2.3", ["main.py"]),
    ],
)
def test_hosts_paths_and_limits(text: str, found: list[str]) -> None:
    assert [url.text for url in find_urls(text)] == found
