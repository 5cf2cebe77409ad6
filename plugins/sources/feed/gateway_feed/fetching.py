"""Getting a feed over HTTP with manners: asking only for what is new, following redirects, heeding 410 (RFC 9110)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlsplit

import httpx2

from gateway_feed.config import FeedConfig
from gateway_schemas.errors import Rejected
from gateway_schemas.http import call
from gateway_schemas.limits import metered

BUCKET = "feed.read"
ACCEPT = "application/atom+xml, application/rss+xml, application/rdf+xml;q=0.9, application/xml;q=0.8, */*;q=0.1"
MOVED_ELSEWHERE = "moved_elsewhere"
_HOPS = 5
_REDIRECTS = (301, 302, 303, 307, 308)
_PERMANENT = (301, 308)


@dataclass(frozen=True)
class Fetched:
    """What a feed's server answered in the end."""

    response: httpx2.Response
    url: str
    """Where it was."""
    moved_to: str | None
    """Where it is from now on, where every redirect on the way is meant to last."""

    @property
    def unchanged(self) -> bool:
        """Whether nothing is new."""
        return self.response.status_code == 304

    @property
    def gone(self) -> bool:
        """Whether the feed has ended for good, and asks to be left alone."""
        return self.response.status_code == 410


async def fetch(
    http: httpx2.AsyncClient,
    config: FeedConfig,
    url: str,
    now: datetime,
    *,
    etag: str | None = None,
    modified: str | None = None,
    accept: str = ACCEPT,
) -> Fetched:
    """Ask for a feed, or only whether it is new. Raises GatewayError; a redirect to a foreign host is Rejected."""
    permanent = True
    address = url
    for _ in range(_HOPS):
        headers = {"accept": accept}
        if etag:
            headers["if-none-match"] = etag
        if modified:
            headers["if-modified-since"] = modified
        if config.authorization is not None and _origin(address) in _homes(config):
            headers["authorization"] = config.authorization.get_secret_value()
        response = await call(
            http,
            "GET",
            address,
            effect=False,
            now=now,
            expected=(200, 304, 410, *_REDIRECTS),
            headers=headers,
            extensions=metered(BUCKET),
        )
        if response.status_code not in _REDIRECTS:
            return Fetched(response, address, address if permanent and address != url else None)
        permanent = permanent and response.status_code in _PERMANENT
        address = _target(config, address, response)
    raise Rejected("the feed redirects in a circle", code="redirect_loop")


def _target(config: FeedConfig, address: str, response: httpx2.Response) -> str:
    """Where a redirect leads. Raises Rejected for what must not be followed."""
    location = response.headers.get("location", "")
    try:
        target = str(httpx2.URL(address).join(location).copy_with(fragment=None)) if location else ""
    except httpx2.InvalidURL:
        target = ""
    if not target:
        raise Rejected("the feed redirects to nowhere", code="redirect_invalid")
    if address.startswith("https://") and target.startswith("http://"):
        raise Rejected("the feed redirects to an address without encryption", code="redirect_insecure")
    if _origin(target) not in config.origins:
        host = urlsplit(target).netloc
        reason = f"the feed has moved to {host}: enter its new address, or {host} among redirect_hosts"
        raise Rejected(reason, code=MOVED_ELSEWHERE)
    return target


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.lower()}"


def _homes(config: FeedConfig) -> tuple[str, ...]:
    """Who may see the credentials: the host that they were entered for, and no other."""
    parts = urlsplit(config.url)
    return (f"{parts.scheme}://{parts.netloc}", f"https://{parts.netloc}")
