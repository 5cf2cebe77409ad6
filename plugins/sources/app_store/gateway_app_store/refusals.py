"""What Apple's refusals mean: told apart by HTTP status and the `code` of the first of its errors (JSON:API).

`{"errors": [{"id", "status": "409", "code": "ENTITY_ERROR.ATTRIBUTE.INVALID", "title", "detail", "source": {"pointer"
or "parameter"}}]}`. The words of `title` and `detail` are shown to people and never looked at.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import httpx2

from gateway_schemas.errors import GatewayError, Gone, Reauthorise, Rejected, Retry
from gateway_schemas.limits import retry_after

AGREEMENTS = "forbidden.required_agreements_missing_or_expired"
_WAIT = timedelta(minutes=5)
"""Nobody is told when the rolling hour has room again."""


@dataclass(frozen=True)
class Refusal:
    """The first of an answer's errors."""

    code: str = ""
    words: str = "without a reason"
    field: str | None = None


def read_refusal(response: httpx2.Response) -> Refusal:
    """Read an answer's first error; an empty one where there is none to read."""
    try:
        body = response.json()
    except (ValueError, RecursionError):
        return Refusal()
    errors = body.get("errors") if isinstance(body, dict) else None
    first: Any = errors[0] if isinstance(errors, list) and errors else None
    if not isinstance(first, dict):
        return Refusal()
    source = first.get("source")
    place = (source.get("pointer") or source.get("parameter")) if isinstance(source, dict) else None
    words = " ".join(str(first.get("detail") or first.get("title") or "without a reason").split())[:500]
    return Refusal(str(first.get("code") or ""), words, str(place).rpartition("/")[2] if place else None)


def refusal(response: httpx2.Response, now: datetime) -> GatewayError | None:
    """What an answer means for the caller; None leaves it to the common table."""
    found = read_refusal(response)
    status = response.status_code
    code = found.code.lower() or f"http_{status}"
    if status == 429:
        after = retry_after(response.headers.get("retry-after"), now) or _WAIT
        return Retry("Apple allows this key no more requests now", after=after, code=code)
    if status == 401:
        reason = "Apple refused the key: it may be revoked, or key id and issuer id may not belong to it"
        return Reauthorise(reason, code="token_refused")
    if status == 403:
        if code == AGREEMENTS:
            return Retry(f"Apple asks for an agreement to be accepted: {found.words}", after=12 * _WAIT, code=code)
        return Rejected(f"Apple does not permit it: {found.words}", code=code)
    if status in (404, 410):
        return Gone(f"Apple has no such thing: {found.words}", code=code)
    if status in (400, 409, 422):
        return Rejected(f"Apple refused it: {found.words}", code=code, field=found.field)
    return None
