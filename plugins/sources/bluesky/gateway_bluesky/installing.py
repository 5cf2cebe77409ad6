"""Setting up: whose session it is, where its server is, and whether messages may be read and written."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Literal

from gateway_bluesky.api import Api
from gateway_bluesky.config import BlueskyConfig
from gateway_schemas.errors import Gone, Reauthorise, Rejected
from gateway_schemas.plugin import AccountRef, Health, HealthFinding, InstallReport, Step


class Installer:
    """Sets up one connection. There is nothing to register: notifications are polled."""

    def __init__(self, api: Api) -> None:
        self.api = api

    async def install(self, *, dry_run: bool) -> InstallReport:
        """Find the account's own server and present handle. Raises GatewayError."""
        session = await self.api.sessions.login()
        wanted = _wanted(session)
        config = self.api.config
        differs = {name: value for name, value in wanted.items() if getattr(config, name) != value}
        steps = [
            Step(action="update" if name in differs else "keep", what=name, detail=str(value))
            for name, value in wanted.items()
        ]
        return InstallReport(steps=tuple(steps), config={} if dry_run else differs)

    async def discover(self) -> list[AccountRef]:
        """The account that the app password is of. Raises GatewayError."""
        session = await self.api.sessions.login()
        handle = str(session.get("handle") or self.api.config.handle)
        config = {"did": session["did"], "handle": handle, **_wanted(session)}
        return [AccountRef(external_id=session["did"], name=handle, handle=f"@{handle}", config=config)]

    async def check(self) -> Health:
        """Session, account, handle, server, and access to messages. Raises GatewayError."""
        findings = [finding async for finding in self._findings()]
        return Health(ok=not any(finding.severity == "error" for finding in findings), findings=tuple(findings))

    async def _findings(self) -> AsyncIterator[HealthFinding]:
        config = self.api.config
        try:
            _, session = await self.api.get("com.atproto.server.getSession")
        except Reauthorise as error:
            yield _finding("error", error.code, error.reason, "enter a new app password of the account")
            return
        if session.get("active") is False:
            message = f"the account is {session.get('status') or 'not active'}"
            yield _finding("error", "account_inactive", message, "have the account's server make it active again")
        handle = session.get("handle")
        if isinstance(handle, str) and handle.lower() != config.handle:
            message = f"the account is called @{handle} now"
            yield _finding("warning", "handle_changed", message, "install again")
        server = pds_of(session)
        if server is not None and server != config.home:
            message = f"the account's server is {server}, and {config.home} is asked"
            yield _finding("warning", "server_moved", message, "install again")
        if config.direct_messages:
            async for finding in self._chat():
                yield finding

    async def _chat(self) -> AsyncIterator[HealthFinding]:
        try:
            await self.api.get("chat.bsky.convo.listConvos", (("limit", "1"),), chat=True)
        except Rejected as error:
            mend = "make an app password with access to direct messages, or switch them off here"
            yield _finding("error", "messages_not_allowed", error.reason, mend)
            return
        if await self._allows(self.api.config) != "all":
            message = "Bluesky lets only those write to the account whom it follows"
            mend = "allow messages from everyone in the account's chat settings, if strangers shall be able to write"
            yield _finding("warning", "messages_closed", message, mend)

    async def _allows(self, config: BlueskyConfig) -> str:
        """Who may write: the account's record `chat.bsky.actor.declaration`; without one those whom it follows."""
        parameters = (("repo", config.did), ("collection", "chat.bsky.actor.declaration"), ("rkey", "self"))
        try:
            _, answer = await self.api.get("com.atproto.repo.getRecord", parameters)
        except Gone:
            return "following"
        value = answer.get("value")
        return str(value.get("allowIncoming")) if isinstance(value, dict) else "following"


def pds_of(session: dict[str, Any]) -> str | None:
    """The account's own server, by the identity document that comes with a session."""
    document = session.get("didDoc")
    services = document.get("service") if isinstance(document, dict) else None
    for service in services if isinstance(services, list) else ():
        if isinstance(service, dict) and str(service.get("id", "")).endswith("#atproto_pds"):
            endpoint = service.get("serviceEndpoint")
            if isinstance(endpoint, str) and endpoint.startswith(("https://", "http://")):
                return endpoint.rstrip("/")
    return None


def _wanted(session: dict[str, Any]) -> dict[str, Any]:
    wanted: dict[str, Any] = {}
    if isinstance(session.get("handle"), str):
        wanted["handle"] = session["handle"].lower()
    if (server := pds_of(session)) is not None:
        wanted["pds_url"] = server
    return wanted


def _finding(severity: Literal["warning", "error"], code: str, message: str, mend: str) -> HealthFinding:
    return HealthFinding(severity=severity, code=code, message=message, mend=mend)
