"""What Meta allows, by the buckets that requests name, and what its answers say of it.

Graph API, "Rate Limits": Pages, Messenger and Instagram have a limit for each account that grows with the people it
reaches (4,800 times the engaged people or impressions of a day), so no number is known beforehand. Answers tell how
much of it is used, in percent, and when it is over, for how many minutes. The budgets here keep accounts apart, so that
one that is over its limit rests alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

import httpx2

from gateway_schemas.limits import Budget, LimitReading

PAGES = "pages"
MESSENGER = "messenger"
INSTAGRAM = "instagram"
PRIVATE_REPLIES = "private_replies"
APP = "app"
EVERYTHING = "*"

_HOUR = timedelta(hours=1)
_FEWEST = 4800
"""Calls an hour that are tried in any case; Meta's answers say when it is less."""
BUDGETS = (
    Budget(PAGES, _FEWEST, _HOUR, per_scope=True),
    Budget(MESSENGER, _FEWEST, _HOUR, per_scope=True),
    Budget(INSTAGRAM, _FEWEST, _HOUR, per_scope=True),
    # "Private Replies", limitations: 750 calls an hour for each account
    Budget(PRIVATE_REPLIES, 750, _HOUR, per_scope=True),
)

_APP_USAGE = "x-app-usage"
_ACCOUNT_USAGE = "x-business-use-case-usage"
_BY_TYPE = {"pages": PAGES, "messenger": MESSENGER, "instagram": INSTAGRAM}
_UNTOLD = timedelta(minutes=5)
"""How long a limit is left alone where Meta does not say how long it lasts: it is counted over a rolling hour."""


def readings(response: httpx2.Response, now: datetime) -> list[LimitReading]:
    """The limits that an answer says are used up; what is below its limit needs no slowing down."""
    found = []
    for bucket, wait in _over(response):
        found.append(LimitReading(bucket, None, 0, now + wait))
    return found


def wait(response: httpx2.Response) -> timedelta | None:
    """How long Meta asks to wait, by the limit that takes longest to come back; None where it does not say."""
    return max((wait for _, wait in _over(response)), default=None)


def _over(response: httpx2.Response) -> Iterator[tuple[str, timedelta]]:
    app = _document(response, _APP_USAGE)
    if app and _used(app) >= 100:
        yield EVERYTHING, _UNTOLD
    for cases in _document(response, _ACCOUNT_USAGE).values():
        for case in cases if isinstance(cases, list) else ():
            if not isinstance(case, Mapping):
                continue
            bucket = _BY_TYPE.get(str(case.get("type")))
            minutes = case.get("estimated_time_to_regain_access")
            minutes = minutes if isinstance(minutes, int | float) and 0 <= minutes < 100_000 else 0
            if bucket and (minutes or _used(case) >= 100):
                yield bucket, timedelta(minutes=minutes) or _UNTOLD


def _used(usage: Mapping[str, Any]) -> float:
    """The fullest of calls, time and processor time, in percent."""
    shares = (usage.get(name) for name in ("call_count", "total_time", "total_cputime"))
    return max((share for share in shares if isinstance(share, int | float)), default=0)


def _document(response: httpx2.Response, header: str) -> dict[str, Any]:
    try:
        document = json.loads(response.headers.get(header, ""))
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}
