"""How a plugin talks to its provider: one call whose every outcome is an answer or an error named by recovery."""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import datetime, timedelta
from typing import Any

import httpx2

from gateway_schemas.errors import GatewayError, Gone, Malformed, Reauthorise, Rejected, Retry, Unknown
from gateway_schemas.limits import BUCKET, retry_after

_ENDLESS = ("gateway.deadline", "gateway.size_limit")
_NOT_SENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout, httpx2.ProxyError)


async def call(
    http: httpx2.AsyncClient,
    method: str,
    url: httpx2.URL | str,
    *,
    effect: bool,
    now: datetime,
    expected: Collection[int] | None = None,
    classify: Callable[[httpx2.Response], GatewayError | None] | None = None,
    label: str | None = None,
    redirects: bool = False,
    **request: Any,
) -> httpx2.Response:
    """Send a request and return its answer, if the status is one of `expected` (None: any 2xx); else raise.

    `effect` says that the request changes something at the provider that must not happen twice: then whatever leaves
    open whether it did is Unknown, where a harmless request is merely tried again. `now` is for a Retry-After given as
    a date. `request` takes what `httpx2.AsyncClient.request` takes. Redirects are followed where `redirects` says so,
    which is for downloads only.

    `classify` sees every answer whose status is not expected before the table below does, to tell apart what the
    provider's error codes tell apart; None leaves it to the table. `answer` gets at the response later on.
    `label` stands for the URL's path in the errors' reasons; give it where the path has a secret in it (Telegram).

        nothing was sent: no connection, none free in the pool         Retry
        connection lost, timeout, protocol error afterwards            Unknown with effect, else Retry
        401                                                            Reauthorise
        429, 425                                                       Retry, after Retry-After and in its bucket
        408, 5xx                                                       Unknown with effect, else Retry after Retry-After
        404, 410                                                       Gone
        other 4xx; 304, 307, 308; a URL that is none                   Rejected
        other 3xx                                                      Unknown with effect, else Rejected
        2xx that is not expected                                       Unknown with effect, else Malformed

    The code is `http_<status>`, or `not_sent`, `interrupted`, `invalid_url`. Errors the host raises from below, as for
    an exhausted budget, pass unchanged.
    """
    what = f"{method} {label or _path(url)}"
    try:
        response = await http.request(method, url, follow_redirects=redirects, **request)
    except _NOT_SENT as error:
        raise Retry(f"{what} was not sent: {str(error) or type(error).__name__}", code="not_sent") from error
    except (httpx2.InvalidURL, httpx2.UnsupportedProtocol) as error:
        raise Rejected(f"{what} was not sent: the address is no valid http(s) URL", code="invalid_url") from error
    except httpx2.RequestError as error:
        reason = f"{what} was interrupted: {type(error).__name__}"
        # The library's words for a header it refuses to send have the header in them.
        cause = None if isinstance(error, httpx2.LocalProtocolError) else error
        raise (Unknown if effect else Retry)(reason, code="interrupted") from cause
    if response.is_success if expected is None else response.status_code in expected:
        return response
    refined = classify(response) if classify else None
    extensions: dict[str, Any] = request.get("extensions") or {}
    raised = refined or _by_status(response, what, effect, now, extensions.get(BUCKET))
    raise raised from httpx2.HTTPStatusError(raised.reason, request=response.request, response=response)


def _by_status(response: httpx2.Response, what: str, effect: bool, now: datetime, bucket: str | None) -> GatewayError:
    status = response.status_code
    reason, code = f"{what} was answered {status}", f"http_{status}"
    match status:
        case 401:
            return Reauthorise(reason, code=code)
        case 404 | 410:
            return Gone(reason, code=code)
        case 425 | 429:
            return Retry(reason, after=_after(response, now), bucket=bucket, code=code)
        case 304 | 307 | 308:
            return Rejected(reason, code=code)
    if 400 <= status < 500 and status != 408:
        return Rejected(reason, code=code)
    if effect:
        return Unknown(reason, code=code)
    if status >= 400:
        return Retry(reason, after=_after(response, now), code=code)
    return Malformed(reason, code=code) if response.is_success else Rejected(reason, code=code)


def _after(response: httpx2.Response, now: datetime) -> timedelta | None:
    try:
        return retry_after(response.headers.get("retry-after"), now)
    except OverflowError:  # a date with an hour of twenty digits
        return None


def endless() -> dict[str, Any]:
    """Extensions for a request whose answer is meant to go on, as a stream that `listen` follows.

    The host then limits neither its time nor its size; the plugin gives a read timeout of its own, by which it notices
    that the stream is dead.
    """
    return dict.fromkeys(_ENDLESS)


def answer(error: GatewayError) -> httpx2.Response | None:
    """The provider's answer that made `call` raise `error`; None when there was none."""
    return error.__cause__.response if isinstance(error.__cause__, httpx2.HTTPStatusError) else None


def json_object(response: httpx2.Response, *, effect: bool = False) -> dict[str, Any]:
    """Read the body as a JSON object.

    Raises Malformed when it is none; after a request with an `effect` Unknown instead, because that did happen.
    """
    cause: Exception | None = None
    try:
        body = response.json()
        if isinstance(body, dict):
            return body
        kind = f"JSON, but not an object: {type(body).__name__}"
    except (ValueError, RecursionError) as error:
        kind, cause = "no JSON", error
    reason = f"the answer {response.status_code} is {kind}"
    raise (Unknown if effect else Malformed)(reason, code="malformed") from cause


def _path(url: httpx2.URL | str) -> str:
    try:
        return httpx2.URL(url).raw_path.partition(b"?")[0].decode("ascii")
    except httpx2.InvalidURL:
        return "(an invalid URL)"
