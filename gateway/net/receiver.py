"""Requests to receivers of webhooks: one POST, and how it ended."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

import httpx2

from gateway.net.addresses import AllowList, kind_of, normal_host
from gateway.net.client import SIZE_LIMIT, Outgoing, Target, calling
from gateway.net.guard import origin_of
from gateway_schemas.errors import GatewayError, Retry
from gateway_schemas.limits import retry_after

BODY_HEAD = 1024
"""Bytes of an answer that are read and kept."""
LONGEST_WAIT = timedelta(hours=24)
"""More than this no receiver may ask us to wait."""

Outcome = Literal["delivered", "refused", "redirected", "gone", "timeout", "unreachable", "not_allowed", "postponed"]


def check_url(url: str, allow_private: Sequence[str]) -> None:
    """Raise ValueError, with what is wrong, unless webhooks may go to this URL.

    Where its name leads is looked at with each request; here is said what can be said without asking anybody.
    """
    allow = AllowList.parse(allow_private)
    try:
        parsed = httpx2.URL(url)
        if not url.isascii() or any(character <= " " for character in url):
            raise httpx2.InvalidURL(url)
    except httpx2.InvalidURL:
        raise ValueError("is no URL") from None
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise ValueError("is no absolute https URL")
    if parsed.userinfo:
        raise ValueError("has credentials in it; receivers know the gateway by its signature")
    if parsed.fragment:
        raise ValueError("has a fragment, which no request carries")
    _, host, port = origin_of(parsed)
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        opened = (host, port) in allow.endpoints
    else:
        kind = kind_of(address)
        opened = (normal_host(host), port) in allow.endpoints or (kind is not None and allow.opens(address, host, port))
        if kind is not None and not opened:
            raise ValueError(f"leads to a {kind} address, which allow_private does not open")
    if parsed.scheme == "http" and not opened:
        raise ValueError("is not https; plain http is for places that allow_private opens")


@dataclass(frozen=True)
class Answered:
    """How one request ended."""

    outcome: Outcome
    status: int | None = None
    reason: str | None = None
    body: str | None = None
    milliseconds: int = 0
    wait: timedelta | None = None
    """How long the receiver asked us to wait."""

    @property
    def ok(self) -> bool:
        """Whether the receiver has it."""
        return self.outcome == "delivered"


async def post(
    outgoing: Outgoing, target: Target, url: str, headers: Mapping[str, str], body: bytes, now: datetime, seconds: float
) -> Answered:
    """Make one request to a receiver. Never raises for what the receiver or the network does.

    No redirect is followed: who may answer for a receiver is said by its address alone.
    """
    started = time.monotonic()
    try:
        with calling(seconds=seconds):
            async with outgoing.client(target).stream(
                "POST", url, content=body, headers=headers, extensions={SIZE_LIMIT: None}
            ) as response:
                answered = _of(response, await _head(response), now)
    except Retry as error:  # nothing was sent: it had asked for a pause, or the database is away
        answered = Answered("postponed", reason=error.reason, wait=error.after)
    except GatewayError as error:
        answered = Answered("not_allowed", reason=error.reason)
    except httpx2.TimeoutException as error:
        late = isinstance(error, httpx2.ReadTimeout)
        answered = Answered("timeout", reason=f"no answer within {seconds:g} s" if late else "it cannot be reached")
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        answered = Answered("unreachable", reason=type(error).__name__)
    return _timed(answered, started)


def _of(response: httpx2.Response, body: str, now: datetime) -> Answered:
    status = response.status_code
    if response.is_success:
        return Answered("delivered", status, body=body)
    if status == 410:
        return Answered("gone", status, "the receiver says that it is gone for good", body)
    if response.is_redirect:
        return Answered("redirected", status, "it answers from elsewhere; change the subscription's url", body)
    wait = retry_after(response.headers.get("retry-after"), now)
    return Answered("refused", status, f"it answered {status}", body, wait=min(wait, LONGEST_WAIT) if wait else None)


async def _head(response: httpx2.Response) -> str:
    """The beginning of the body. The status has been given: a body that breaks off or does not end changes nothing."""
    head = b""
    try:
        async for chunk in response.aiter_raw():
            head += chunk
            if len(head) >= BODY_HEAD:
                break
    except (httpx2.HTTPError, GatewayError):
        pass
    return head[:BODY_HEAD].decode("utf-8", "replace").replace("\x00", "\ufffd")


def _timed(answered: Answered, started: float) -> Answered:
    return replace(answered, milliseconds=int((time.monotonic() - started) * 1000))
