"""Setting up: what the server says of itself and of the account, and whether that still stands."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any, Literal
from urllib.parse import urlsplit

import httpx2

from gateway_mastodon.api import READ, Api
from gateway_mastodon.names import address
from gateway_mastodon.normalise import normalise
from gateway_mastodon.reading import mentions
from gateway_schemas.errors import GatewayError, Malformed, Reauthorise, Rejected
from gateway_schemas.http import call
from gateway_schemas.limits import metered
from gateway_schemas.plugin import AccountRef, Health, HealthFinding, InstallReport, Newest, Step, newest_of
from gateway_schemas.webhook import RawDelivery

_SEEN = 5
"""How many mentions a check reads."""
_LIMITS = {
    "max_characters": ("statuses", "max_characters"),
    "url_length": ("statuses", "characters_reserved_per_url"),
    "max_media": ("statuses", "max_media_attachments"),
    "media_types": ("media_attachments", "supported_mime_types"),
    "image_bytes": ("media_attachments", "image_size_limit"),
    "video_bytes": ("media_attachments", "video_size_limit"),
}
"""Our field, and where `configuration` of `/api/v2/instance` has it."""


class Installer:
    """Sets up one connection. There is nothing to register: the account's token is all that the server knows of us."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self._newest: tuple[Newest, ...] = ()

    async def install(self, *, dry_run: bool) -> InstallReport:
        """Read the server's limits and addresses into the configuration. Raises GatewayError."""
        wanted = await self._wanted()
        differs = self._differences(wanted)
        steps = [
            Step(action="update", what=name, detail=f"{getattr(self.api.config, name)} → {value}")
            for name, value in differs.items()
        ]
        steps += [Step(action="keep", what=name) for name in wanted if name not in differs]
        return InstallReport(steps=tuple(steps), config={} if dry_run else differs)

    async def discover(self) -> list[AccountRef]:
        """The account whose token it is, with the server's limits. Raises GatewayError."""
        _, me = await self.api.get("/api/v1/accounts/verify_credentials")
        wanted = await self._wanted(me)
        name = str(me.get("username"))
        handle = address(name, str(wanted["domain"]))
        config = {"account_id": str(me.get("id")), "username": name, **wanted}
        return [
            AccountRef(external_id=handle, name=str(me.get("display_name") or name), handle=f"@{handle}", config=config)
        ]

    async def _wanted(self, me: dict[str, Any] | None = None) -> dict[str, Any]:
        """What the configuration should say, as far as the server tells it."""
        _, instance = await self.api.get("/api/v2/instance")
        if me is None:
            _, me = await self.api.get("/api/v1/accounts/verify_credentials")
        config = self.api.config
        told = instance.get("configuration")
        told = told if isinstance(told, dict) else {}
        wanted: dict[str, Any] = {}
        for name, (group, key) in _LIMITS.items():
            value = (told.get(group) or {}).get(key)
            kind = list if name == "media_types" else int
            if isinstance(value, kind) and not isinstance(value, bool) and (value or name == "max_media"):
                wanted[name] = [str(one) for one in value] if isinstance(value, list) else value
        domain = instance.get("domain")
        if not isinstance(domain, str) or not domain:
            raise Malformed("/api/v2/instance: domain: expected the server's name", code="malformed")
        wanted["domain"] = domain.lower()
        streaming = _origin((told.get("urls") or {}).get("streaming"))
        if streaming is not None:
            wanted["streaming_url"] = streaming
        # files lie where the account's own picture does, on servers that keep them elsewhere
        avatar = _origin(me.get("avatar"))
        if avatar is not None and avatar not in (config.base_url, *config.media_hosts):
            wanted["media_hosts"] = [*config.media_hosts, avatar]
        return wanted

    def _differences(self, wanted: dict[str, Any]) -> dict[str, Any]:
        now = self.api.config
        standing = {"domain": now.home, "streaming_url": now.streams_at}
        return {name: value for name, value in wanted.items() if standing.get(name, getattr(now, name)) != value}

    async def check(self) -> Health:
        """Token, account, what it may read, the server's limits, its stream, and what was said to it last.

        Raises GatewayError.
        """
        findings = [finding async for finding in self._findings()]
        ok = not any(finding.severity == "error" for finding in findings)
        return Health(ok=ok, findings=tuple(findings), newest=self._newest)

    async def _findings(self) -> AsyncIterator[HealthFinding]:
        config = self.api.config
        try:
            _, me = await self.api.get("/api/v1/accounts/verify_credentials")
        except Reauthorise as error:
            yield _finding("error", "token_refused", error.reason, "enter a new token of the account")
            return
        if str(me.get("id")) != config.account_id:
            message = f"the token belongs to @{me.get('acct')} ({me.get('id')}), not to {config.account_id}"
            yield _finding("error", "wrong_account", message, "enter the right account's token, or its id")
            return
        for finding in _account_findings(me):
            yield finding
        try:
            listed = await self.api.listed("/api/v1/notifications", mentions(_SEEN))
            self._newest = self._newest_of(listed.body)
        except Rejected as error:
            mend = "make a token with read:notifications and read:statuses, and enter it"
            yield _finding("error", "scope_missing", f"notifications cannot be read: {error.reason}", mend)
        changed = self._differences(await self._wanted(me))
        if "domain" in changed:
            message = f"the server calls itself {changed.pop('domain')}, and its accounts are read as of {config.home}"
            yield _finding("error", "wrong_domain", message, "install again")
        if changed:
            message = f"the server changed {', '.join(changed)}"
            yield _finding("warning", "limits_changed", message, "install again")
        if config.streaming:
            try:
                await self._health()
            except GatewayError as error:
                message = f"the stream is not to be had: {error.reason}"
                mend = "news wait for the poll until it is back; install again if the server moved it"
                yield _finding("warning", "no_stream", message, mend)

    def _newest_of(self, body: bytes) -> tuple[Newest, ...]:
        now, view = self.api.now(), self.api.view
        page = RawDelivery("probe", "poll", body, now, stream="notifications", note=view.note("notifications"))
        # an account that writes to itself, and what is told of an edit, is not what polls are to bring as new
        return newest_of(normalise(page), _SEEN)

    async def _health(self) -> httpx2.Response:
        """`/api/v1/streaming/health` answers `OK`, without a token."""
        url = self.api.config.streams_at + "/api/v1/streaming/health"
        return await call(self.api.http, "GET", url, effect=False, now=self.api.now(), extensions=metered(READ))


def _account_findings(me: dict[str, Any]) -> Iterator[HealthFinding]:
    if me.get("suspended") or me.get("limited"):
        word = "suspended" if me.get("suspended") else "limited"
        message = f"the server's moderators {word} the account: few or none see its answers"
        yield _finding("error" if me.get("suspended") else "warning", word, message, "ask the server's moderators")
    if me.get("moved"):
        moved = me["moved"]
        where = moved.get("acct") if isinstance(moved, dict) else "another server"
        yield _finding("warning", "moved", f"the account moved to @{where}", "connect the account it moved to")


def _origin(url: Any) -> str | None:
    if not isinstance(url, str):
        return None
    parts = urlsplit(url)
    scheme = {"wss": "https", "ws": "http"}.get(parts.scheme, parts.scheme)
    return f"{scheme}://{parts.netloc}" if scheme in ("http", "https") and parts.netloc else None


_ACCESS = ("token_refused", "wrong_account", "suspended", "scope_missing")


def _finding(severity: Literal["warning", "error"], code: str, message: str, mend: str) -> HealthFinding:
    concern: Any = "access" if code in _ACCESS else "stream" if code == "no_stream" else "other"
    return HealthFinding(severity=severity, code=code, message=message, mend=mend, concern=concern)
