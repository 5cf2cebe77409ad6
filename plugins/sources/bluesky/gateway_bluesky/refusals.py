"""What the refusals of an AT Protocol server mean: `{"error": name, "message": words}` with the status."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import httpx2

from gateway_schemas.errors import GatewayError, Gone, Reauthorise, Rejected, Retry
from gateway_schemas.limits import Budget, LimitReading, retry_after

ALL = "*"
READ = "read"
WRITE = "write"
CHAT = "chat"
BUDGETS = (
    # docs.bsky.app, "Rate limits": requests by address; writes in points, of which a new record costs three
    Budget(ALL, 3000, timedelta(minutes=5)),
    Budget(WRITE, 1666, timedelta(hours=1)),
    Budget(WRITE, 11_666, timedelta(days=1)),
    Budget("login", 30, timedelta(minutes=5)),
    Budget("login", 300, timedelta(days=1)),
)
_POINTS = {3600, 86_400}
_CREATE = 3
ACCOUNT = {"AccountTakedown", "AccountDeactivated", "RepoDeactivated", "RepoTakendown", "RepoSuspended"}
"""The account is not active at its server."""
_GONE = {"NotFound", "RecordNotFound"}
_WINDOW = re.compile(r"w=(\d{1,7})")


def refusal(response: httpx2.Response, bucket: str, now: datetime) -> GatewayError | None:
    """By status and the error's name; None leaves it to the common table. A proxy's answer may be no JSON at all."""
    name, words = problem(response)
    code = snake(name) or f"http_{response.status_code}"
    if name in ACCOUNT:
        return Reauthorise(f"the account is not active at its server: {words}", code=code)
    match response.status_code:
        case 401:
            return Reauthorise(f"the server refused the session: {words}", code=code)
        case 429:
            named = bucket if bucket in (WRITE, "login") else None
            reason = f"the server allows no more calls of {bucket} now"
            return Retry(reason, after=_wait(response, now), bucket=named, code=code)
        case 404 | 410:
            return Gone(f"the server has no such thing: {words}", code=code)
        case 400 if name in _GONE:
            return Gone(f"the server has no such thing: {words}", code=code)
        case 400 | 403 | 413 | 422:
            return Rejected(f"the server refused it: {words}", code=code)
    return None


def problem(response: httpx2.Response) -> tuple[str, str]:
    """The error's name and words; empty and "without a reason" when it says none."""
    try:
        body = response.json()
    except (ValueError, RecursionError):
        body = None
    name, words = (body.get("error"), body.get("message")) if isinstance(body, dict) else (None, None)
    name = name if isinstance(name, str) and len(name) < 100 else ""
    return name, words if isinstance(words, str) and words else name or "without a reason"


def snake(name: str) -> str:
    """`ConvoLocked` as `convo_locked`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower() if re.fullmatch(r"[A-Za-z0-9]+", name) else ""


def limits_of(response: httpx2.Response, bucket: str) -> list[LimitReading]:
    """`ratelimit-limit|remaining|reset|policy`, the reset in epoch seconds. Writes are told in points."""
    limit, remaining, reset = (
        _number(response.headers.get(f"ratelimit-{one}")) for one in ("limit", "remaining", "reset")
    )
    if limit is None and remaining is None:
        return []
    resets_at = datetime.fromtimestamp(reset, UTC) if reset is not None else None
    window = _WINDOW.search(response.headers.get("ratelimit-policy", ""))
    if bucket == WRITE and window is not None and int(window[1]) in _POINTS:
        limit, remaining = (value // _CREATE if value is not None else None for value in (limit, remaining))
        return [LimitReading(WRITE, limit, remaining, resets_at)]
    return [LimitReading(bucket if bucket == "login" else ALL, limit, remaining, resets_at)]


def _wait(response: httpx2.Response, now: datetime) -> timedelta | None:
    """As long as Retry-After says, or until the window starts anew where that is longer."""
    waits = [retry_after(response.headers.get("retry-after"), now)]
    if (reset := _number(response.headers.get("ratelimit-reset"))) is not None:
        waits.append(max(timedelta(), datetime.fromtimestamp(reset, UTC) - now))
    return max((wait for wait in waits if wait is not None), default=None)


def _number(value: str | None) -> int | None:
    return int(value) if value is not None and value.isascii() and value.isdecimal() and len(value) < 12 else None
