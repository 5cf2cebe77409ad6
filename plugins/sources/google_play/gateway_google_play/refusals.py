"""What Google's refusals mean: told apart by HTTP status, `error.status` and the reasons that come with it.

The shape is that of google.rpc.Status, `{"error": {"code", "message", "status", "details": [{"@type", …}]}}`, with the
older list `errors[].reason` beside it. The words of `message` are shown to people and never looked at.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import httpx2

from gateway_google_play.budgets import READ, REPLY
from gateway_schemas.errors import GatewayError, Gone, Reauthorise, Rejected, Retry
from gateway_schemas.limits import retry_after

SERVICE_DISABLED = "service_disabled"
_MINUTE, _HOUR = timedelta(minutes=1), timedelta(hours=1)
_SECONDS = re.compile(r"(\d{1,6})(?:\.(\d{1,9}))?s")
_QUOTA = {"RATE_LIMIT_EXCEEDED", "RESOURCE_QUOTA_EXCEEDED", "rateLimitExceeded", "userRateLimitExceeded"}
_QUOTA_A_DAY = {"quotaExceeded", "dailyLimitExceeded"}
_DISABLED = {"SERVICE_DISABLED", "accessNotConfigured"}
_FIRST_TRIES = {"UNAVAILABLE", "ABORTED"}


@dataclass(frozen=True)
class Refusal:
    """One refusal, read."""

    status: str = ""
    words: str = ""
    reasons: frozenset[str] = frozenset()
    wait: timedelta | None = None
    fields: tuple[str, ...] = field(default=())

    @property
    def over_quota(self) -> bool:
        """Whether it is for the number of requests."""
        return self.status == "RESOURCE_EXHAUSTED" or bool(self.reasons & (_QUOTA | _QUOTA_A_DAY))


def read_refusal(response: httpx2.Response) -> Refusal:
    """Read an answer's error; an empty one where there is none to read."""
    try:
        body = response.json()
    except (ValueError, RecursionError):
        return Refusal()
    error = body.get("error") if isinstance(body, dict) else None
    if not isinstance(error, dict):
        return Refusal()
    details = list(_objects(error.get("details")))
    reasons = [item.get("reason") for item in (*details, *_objects(error.get("errors")))]
    wait: timedelta | None = None
    fields: list[str] = []
    for item in details:
        if (delay := _duration(item.get("retryDelay"))) is not None:
            wait = delay
        fields += [str(one["field"]) for one in _objects(item.get("fieldViolations")) if one.get("field")]
    return Refusal(
        status=str(error.get("status") or ""),
        words=" ".join(str(error.get("message") or "").split())[:500],
        reasons=frozenset(str(reason) for reason in reasons if reason),
        wait=wait,
        fields=tuple(fields),
    )


def refusal(response: httpx2.Response, bucket: str, now: datetime) -> GatewayError | None:
    """What an answer means for the caller; None leaves it to the common table."""
    found = read_refusal(response)
    status = response.status_code
    code = found.status.lower() or f"http_{status}"
    words = found.words or "without a reason"
    if found.over_quota or status == 429:
        return Retry(
            f"Google allows no more calls of {bucket} now",
            after=quota_wait(response, found, bucket, now),
            bucket=bucket,
            code=code,
        )
    if status == 401:
        return Reauthorise("Google refused the service account's token", code="token_refused")
    if status == 403:
        if found.reasons & _DISABLED:
            reason = (
                "the Google Play Android Developer API is not enabled for the project: enable it in the Cloud console"
            )
            return Retry(reason, after=_HOUR, code=SERVICE_DISABLED)
        return Rejected(f"Google does not permit it: {words}", code=code)
    if status in (404, 410):
        return Gone(f"Google has no such thing: {words}", code=code)
    if status in (409, 412) and found.status in _FIRST_TRIES:
        return Retry(f"Google asks to try again: {words}", code=code)
    if status in (400, 409, 412):
        return Rejected(f"Google refused it: {words}", code=code, field=found.fields[0] if found.fields else None)
    return None


def quota_wait(response: httpx2.Response, found: Refusal, bucket: str, now: datetime) -> timedelta:
    """How long to wait after a refusal for quota: as Google says, else by the window that ran out.

    Whether a minute's, an hour's or a day's quota is used up is not told apart, so it is asked again before the window
    has surely ended.
    """
    said = found.wait or retry_after(response.headers.get("retry-after"), now)
    if said:
        return said
    if found.reasons & _QUOTA_A_DAY:
        return _HOUR
    return {READ: 5 * _MINUTE, REPLY: 15 * _MINUTE}.get(bucket, _MINUTE)


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    return (item for item in (value if isinstance(value, list) else ()) if isinstance(item, dict))


def _duration(value: Any) -> timedelta | None:
    match = _SECONDS.fullmatch(value) if isinstance(value, str) else None
    return timedelta(seconds=float(f"{match[1]}.{match[2] or 0}")) if match else None
