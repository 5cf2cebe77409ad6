"""What answers say of waiting and of budgets, from well-behaved providers and from others."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from email.utils import format_datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway_schemas.limits import LimitReading, delta_headers, epoch_headers, metered, retry_after

NOW = datetime(2026, 3, 12, 10, 15, tzinfo=UTC)
SECOND = timedelta(seconds=1)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0),
        ("120", 120),
        (" 120 ", 120),
        ("1.5", 1.5),
        ("99999999", 99_999_999),
        ("Thu, 12 Mar 2026 10:16:00 GMT", 60),
        ("Thu, 12 Mar 2026 11:16:00 +0100", 60),
        ("Thu, 12 Mar 2026 10:16:00", 60),
        ("Thu, 12 Mar 2026 10:16:00 -0000", 60),
        ("Thursday, 12-Mar-26 10:16:00 GMT", 60),  # the obsolete forms that RFC 9110 still asks recipients to read
        ("Thu Mar 12 10:16:00 2026", 60),
        ("Thu, 12 Mar 2026 10:15:00 GMT", 0),
        ("Thu, 12 Mar 2026 10:14:00 GMT", 0),
        ("Mon, 01 Jan 0001 00:00:00 +1400", 0),
    ],
)
def test_retry_after(value: str, seconds: float) -> None:
    assert retry_after(value, NOW) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "value",
    [
        *(None, "", " ", "soon", "-1", "-0.5", "nan", "inf", "-inf", "1e400", "1e9", "100000000", "12 s", "0x10"),
        *("Fri, 31 Dec 9999 23:59:59 GMT", "Fri, 31 Dec 9999 23:59:59 -1200", "Thu, 32 Mar 2026 10:16:00 GMT"),
        *(
            "Thu, 12 Mar 2026 25:16:00 GMT",
            "Thu, 12 Mar 2026 10:16:00 +9999",
            "Thu, 12 Mar",
            "\x00",
            "\ud83d",
            "1" * 400,
        ),
    ],
)
def test_a_retry_after_that_says_nothing_sensible_is_none(value: str | None) -> None:
    assert retry_after(value, NOW) is None


@given(st.text() | st.from_regex(r"[A-Z][a-z]{2}, \d{1,3} [A-Z][a-z]{2} \d{1,6} \d\d:\d\d(:\d\d)? ?[+-]?\w{0,5}"))
@example("1" * 5000)
@example(", ")
def test_no_retry_after_breaks_what_comes_next(value: str) -> None:
    found = retry_after(value, NOW)
    assert found is None or timedelta() <= found
    if found is not None:
        assert NOW + found > NOW - SECOND  # it can be added to a date


@given(st.integers(0, 10**8 - 1))
def test_every_http_date_in_the_next_years_is_read(seconds: int) -> None:
    wait = seconds * SECOND
    assert retry_after(format_datetime(NOW + wait, usegmt=True), NOW) == wait


def test_headers_with_the_reset_as_a_date() -> None:
    headers = {"x-rate-limit-limit": "300", "x-rate-limit-remaining": "12", "x-rate-limit-reset": "1773310560"}
    [reading] = epoch_headers(headers, "posts")
    assert reading == LimitReading("posts", 300, 12, datetime(2026, 3, 12, 10, 16, tzinfo=UTC))
    assert epoch_headers({"x-app-limit": "5"}, "app", prefix="x-app-") == [LimitReading("app", 5, None, None)]


def test_headers_with_the_reset_in_seconds() -> None:
    headers = {"ratelimit-limit": "700", "ratelimit-remaining": "0", "ratelimit-reset": "41"}
    assert delta_headers(headers, "*", NOW) == [LimitReading("*", 700, 0, NOW + 41 * SECOND)]
    assert delta_headers({**headers, "ratelimit-reset": "0"}, "*", NOW)[0].resets_at == NOW


def test_headers_that_are_not_there_say_nothing() -> None:
    assert epoch_headers({}, "posts") == []
    assert delta_headers({"ratelimit-reset": "41"}, "posts", NOW) == []


@pytest.mark.parametrize("junk", ["", "many", "nan", "inf", "-inf", "1e400", "1, 2"])
def test_headers_that_are_not_numbers_are_not_there(junk: str) -> None:
    names = ("limit", "remaining", "reset")
    assert epoch_headers({f"x-rate-limit-{name}": junk for name in names}, "posts") == []
    assert delta_headers({f"ratelimit-{name}": junk for name in names}, "posts", NOW) == []


@pytest.mark.parametrize("reset", ["1e15", "1e30", "-1e30", "9" * 300, "99999999999999"])
def test_a_reset_beyond_all_dates_is_not_told(reset: str) -> None:
    epoch = {"x-rate-limit-limit": "5", "x-rate-limit-remaining": "1", "x-rate-limit-reset": reset}
    assert epoch_headers(epoch, "posts") == [LimitReading("posts", 5, 1, None)]
    delta = {"ratelimit-limit": "5", "ratelimit-remaining": "1", "ratelimit-reset": reset}
    assert delta_headers(delta, "posts", NOW) == [LimitReading("posts", 5, 1, None)]


@given(st.text(), st.text(), st.text())
def test_no_header_breaks_the_reading(limit: str, remaining: str, reset: str) -> None:
    epoch_headers({"x-rate-limit-limit": limit, "x-rate-limit-remaining": remaining, "x-rate-limit-reset": reset}, "b")
    delta_headers({"ratelimit-limit": limit, "ratelimit-remaining": remaining, "ratelimit-reset": reset}, "b", NOW)


def test_a_request_names_its_bucket_and_only_what_it_has() -> None:
    assert metered("posts") == {"gateway.bucket": "posts"}
    assert metered("posts", cost=Decimal(0), scope="7") == {
        "gateway.bucket": "posts",
        "gateway.cost": Decimal(0),
        "gateway.scope": "7",
    }
