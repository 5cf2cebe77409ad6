"""What Google's refusals mean: told apart by HTTP status, `error.status` and the reasons in `error.details`.

The shape is that of google.rpc.Status: `{"error": {"code", "message", "status", "details": [{"@type", …}]}}`. The words
of `message` are shown to people and never looked at.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import httpx2

from gateway_schemas.errors import GatewayError, Gone, Reauthorise, Rejected, Retry
from gateway_schemas.limits import retry_after

NOT_APPROVED = "not_approved"
"""The project's quota is 0: Google has not approved it for these APIs."""
SERVICE_DISABLED = "service_disabled"
_MINUTE = timedelta(minutes=1)
_HOUR = timedelta(hours=1)
_SECONDS = re.compile(r"(\d{1,6})(?:\.(\d{1,9}))?s")
_QUOTA = {"RATE_LIMIT_EXCEEDED", "RESOURCE_QUOTA_EXCEEDED", "rateLimitExceeded", "userRateLimitExceeded"}
_QUOTA_A_DAY = {"quotaExceeded", "dailyLimitExceeded"}
_FIRST_TRIES = {"UNAVAILABLE", "ABORTED"}


@dataclass(frozen=True)
class Refusal:
    """One refusal, read."""

    status: str = ""
    words: str = ""
    reasons: frozenset[str] = frozenset()
    metadata: dict[str, str] = field(default_factory=dict)
    wait: timedelta | None = None
    fields: tuple[str, ...] = ()

    @property
    def over_quota(self) -> bool:
        """Whether it is for the number of requests."""
        return self.status == "RESOURCE_EXHAUSTED" or bool(self.reasons & (_QUOTA | _QUOTA_A_DAY))

    @property
    def without_quota(self) -> bool:
        """Whether the project may make no request at all."""
        return self.over_quota and self.metadata.get("quota_limit_value") == "0"


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
    metadata: dict[str, str] = {}
    wait: timedelta | None = None
    fields: list[str] = []
    for item in details:
        if isinstance(item.get("metadata"), dict):
            metadata |= {str(key): str(value) for key, value in item["metadata"].items()}
        if (delay := _duration(item.get("retryDelay"))) is not None:
            wait = delay
        fields += [str(one["field"]) for one in _objects(item.get("fieldViolations")) if one.get("field")]
    return Refusal(
        status=str(error.get("status") or ""),
        words=" ".join(str(error.get("message") or "").split()),
        reasons=frozenset(str(reason) for reason in reasons if reason),
        metadata=metadata,
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
        if found.without_quota:
            reason = "Google allows this project no request: it is not approved for the Business Profile APIs yet"
            return Retry(reason, after=_HOUR, code=NOT_APPROVED)
        return Retry(
            f"Google allows no more calls of {bucket} now",
            after=quota_wait(response, found, now),
            bucket=bucket,
            code=code,
        )
    if status == 401:
        return Reauthorise("Google refused the account's token: authorise the account again", code="token_refused")
    if status == 403:
        if "SERVICE_DISABLED" in found.reasons:
            service = found.metadata.get("service", "an API")
            reason = f"{service} is not enabled for the project: enable it in the Google Cloud console"
            return Retry(reason, after=_HOUR, code=SERVICE_DISABLED)
        if "ACCESS_TOKEN_SCOPE_INSUFFICIENT" in found.reasons:
            reason = "the token lacks the scope business.manage: authorise the account again with it"
            return Reauthorise(reason, code="scope_missing")
        return Rejected(f"Google does not permit it: {words}", code=code)
    if status in (404, 410):
        return Gone(f"Google has no such thing: {words}", code=code)
    if status in (409, 412) and found.status in _FIRST_TRIES:
        return Retry(f"Google asks to try again: {words}", code=code)
    if status in (400, 409, 412):
        return Rejected(f"Google refused it: {words}", code=code, field=found.fields[0] if found.fields else None)
    return None


def quota_wait(response: httpx2.Response, found: Refusal, now: datetime) -> timedelta:
    """How long to wait after a refusal for quota: as Google says, else until the next minute's quota or an hour."""
    said = found.wait or retry_after(response.headers.get("retry-after"), now)
    return said or (_HOUR if found.reasons & _QUOTA_A_DAY else _MINUTE)


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    return (item for item in (value if isinstance(value, list) else ()) if isinstance(item, dict))


def _duration(value: Any) -> timedelta | None:
    match = _SECONDS.fullmatch(value) if isinstance(value, str) else None
    return timedelta(seconds=float(f"{match[1]}.{match[2] or 0}")) if match else None
