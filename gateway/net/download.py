"""Fetching a document from an address that somebody entered: small, public, and without an account."""

from __future__ import annotations

from collections.abc import Sequence

import httpx2

from gateway.net.client import Outgoing, Target
from gateway.net.size import SIZE_LIMIT
from gateway_schemas.errors import Rejected, Retry

MOST = 2 * 1024 * 1024
"""The most bytes that a document may have."""


async def download(outgoing: Outgoing, budget_key: str, url: str, *, allow_private: Sequence[str] = ()) -> bytes:
    """The document at an http(s) URL; redirects are followed, each under the guard against inner addresses.

    Raises Retry when nobody answered or the server is in trouble, Rejected for everything else.
    """
    client = outgoing.client(Target(budget_key=budget_key, allow_private=allow_private, lane="interactive"))
    try:
        response = await client.get(url, follow_redirects=True, extensions={SIZE_LIMIT: MOST})
    except (httpx2.InvalidURL, httpx2.UnsupportedProtocol) as error:
        raise Rejected("the address is no valid http(s) URL", code="invalid_url") from error
    except httpx2.TooManyRedirects as error:
        raise Rejected("it redirects without end", code="redirects") from error
    except httpx2.RequestError as error:
        raise Retry(f"there was no answer: {type(error).__name__}", code="no_answer") from error
    if response.is_success:
        return response.content
    reason, code = f"it was answered {response.status_code}", f"http_{response.status_code}"
    if response.status_code in (408, 425, 429) or response.status_code >= 500:
        raise Retry(reason, code=code)
    raise Rejected(reason, code=code)
