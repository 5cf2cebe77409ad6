"""Setting up at X and looking whether it still stands: the App's webhook, each account's subscriptions, the tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from gateway_schemas.errors import Malformed, Reauthorise, Rejected
from gateway_schemas.limits import metered
from gateway_schemas.plugin import AccountRef, Health, HealthFinding, InstallReport, Step
from gateway_x import metering
from gateway_x.api import Api, Who
from gateway_x.metering import priced

POST_EVENTS = ("post.create", "post.delete", "post.mention.create", "post.reply.create", "post.quote.create")
MESSAGE_EVENTS = ("dm.received", "dm.sent")
_PUBLIC_EVENTS = {"post.create", "post.delete"}


class Installer:
    """Webhook and subscriptions of one account."""

    def __init__(self, api: Api, door: str | None) -> None:
        self.api = api
        self.door = door
        self.account = api.config.user_id

    @property
    def events(self) -> tuple[str, ...]:
        """The event types that this account needs."""
        return POST_EVENTS + (MESSAGE_EVENTS if self.api.config.direct_messages else ())

    async def install(self, *, dry_run: bool) -> InstallReport:
        """Register the App's door once, then subscribe the account to each event type. Raises GatewayError."""
        if self.door is None:
            raise Rejected("the gateway has no public address; X can only tell an https address", code="no_door")
        steps: list[Step] = []
        webhook_id = await self._webhook(self.door, steps, dry_run)
        if webhook_id is None and not dry_run:
            return InstallReport(steps=tuple(steps))
        await self._subscribe(webhook_id, steps, dry_run)
        app_config = {"webhook_id": webhook_id} if webhook_id and webhook_id != self.api.app.webhook_id else {}
        return InstallReport(steps=tuple(steps), app_config={} if dry_run else app_config)

    async def _webhook(self, door: str, steps: list[Step], dry_run: bool) -> str | None:
        webhooks = await self._webhooks()
        mine = next((webhook for webhook in webhooks if webhook.get("url") == door), None)
        if mine is not None and mine.get("valid"):
            steps.append(Step(action="keep", what="webhook", detail=door))
            return str(mine["id"])
        if mine is not None:
            steps.append(Step(action="update", what="webhook", detail=f"X has it as invalid; challenged anew: {door}"))
            if not dry_run:
                await self._manage("PUT", f"/2/webhooks/{mine['id']}", None)
            return str(mine["id"])
        if webhooks and self.api.app.tier == "self_serve":
            other = webhooks[0]
            detail = (
                f"X allows one webhook and the App has {other.get('url')} (id {other.get('id')}); delete that first"
            )
            steps.append(Step(action="ask", what="webhook", detail=detail))
            return None
        steps.append(Step(action="create", what="webhook", detail=door))
        if dry_run:
            return None
        created = _object(await self._manage("POST", "/2/webhooks", {"url": door}))
        if not isinstance(created.get("id"), str):
            raise Malformed("X registered the webhook and its answer names no id; install again")
        return str(created["id"])

    async def _subscribe(self, webhook_id: str | None, steps: list[Step], dry_run: bool) -> None:
        existing = {item["event_type"]: item for item in await self._subscriptions()}
        for event in self.events:
            found = existing.get(event)
            what = f"subscription {event}"
            if found is not None and webhook_id is not None and found.get("webhook_id") == webhook_id:
                steps.append(Step(action="keep", what=what))
            elif found is not None:
                steps.append(Step(action="update", what=what, detail="told to this webhook"))
                if not dry_run:
                    path = f"/2/activity/subscriptions/{found['subscription_id']}"
                    await self._manage("PUT", path, {"webhook_id": webhook_id})
            else:
                steps.append(Step(action="create", what=what))
                if not dry_run:
                    body = {"event_type": event, "filter": {"user_id": self.account}, "webhook_id": webhook_id}
                    # what others do to an account is private: only its own token may ask for it
                    who: Who = "app" if event in _PUBLIC_EVENTS else "account"
                    await self._manage("POST", "/2/activity/subscriptions", body, who=who)

    async def check(self) -> Health:
        """Is the token good, and its account the right one; is the webhook in force; are all subscriptions there?"""
        findings: list[HealthFinding] = []
        try:
            user = await self._me()
        except Reauthorise as error:
            findings.append(_finding("token_refused", error.reason, "authorise the account again", "access"))
        else:
            if user.get("id") != self.account:
                message = f"the token belongs to @{user.get('username')} ({user.get('id')}), not to {self.account}"
                findings.append(_finding("wrong_account", message, "authorise with the right account", "access"))
        try:
            findings += await self._check_webhook()
        except Reauthorise as error:
            findings.append(_finding("app_token_refused", error.reason, "enter the App's current bearer token", "push"))
        return Health(ok=not any(finding.severity == "error" for finding in findings), findings=tuple(findings))

    async def probe(self) -> Health:
        """The webhook and the subscriptions alone, which X looks up for nothing; whether the account's token is good,
        its polls tell."""
        try:
            findings = list(await self._check_webhook())
        except Reauthorise as error:
            findings = [_finding("app_token_refused", error.reason, "enter the App's current bearer token", "push")]
        return Health(ok=not findings, findings=tuple(findings))

    async def _check_webhook(self) -> Sequence[HealthFinding]:
        wanted = self.api.app.webhook_id
        webhooks = await self._webhooks()
        mine = next((item for item in webhooks if item.get("id") == wanted or item.get("url") == self.door), None)
        if mine is None:
            return [_finding("webhook_missing", "X has no webhook for this gateway", "install again", "push")]
        findings = []
        if not mine.get("valid"):
            message = "X does not tell the webhook: it failed its last challenge"
            mend = "see that the door is reachable, then install again"
            findings.append(_finding("webhook_invalid", message, mend, "push"))
        subscribed = {
            item["event_type"] for item in await self._subscriptions() if item.get("webhook_id") == mine.get("id")
        }
        if missing := [event for event in self.events if event not in subscribed]:
            message = f"X does not tell of {', '.join(missing)}"
            findings.append(_finding("subscription_missing", message, "install again", "push"))
        return findings

    async def discover(self) -> list[AccountRef]:
        """The account whose token it is."""
        user = await self._me()
        id, username = str(user.get("id")), str(user.get("username"))
        return [
            AccountRef(
                external_id=id,
                name=str(user.get("name") or username),
                handle=username,
                config={"user_id": id, "username": username},
            )
        ]

    async def _me(self) -> dict[str, Any]:
        extensions = priced(metering.ME, metering.USER_READ, account=self.account)
        _, answer = await self.api.get("/2/users/me", {}, who="account", extensions=extensions)
        return _object(answer)

    async def _webhooks(self) -> list[dict[str, Any]]:
        _, answer = await self.api.get("/2/webhooks", {}, who="app", extensions=metered(metering.MANAGE))
        return [item for item in answer.get("data") or () if isinstance(item, dict)]

    async def _subscriptions(self) -> list[dict[str, Any]]:
        """This account's subscriptions, of all pages."""
        found: list[dict[str, Any]] = []
        parameters = {"max_results": "1000"}
        while True:
            _, answer = await self.api.get(
                "/2/activity/subscriptions", parameters, who="app", extensions=metered(metering.MANAGE)
            )
            for item in answer.get("data") or ():
                whole = isinstance(item, dict) and "event_type" in item and "subscription_id" in item
                if whole and (item.get("filter") or {}).get("user_id") == self.account:
                    found.append(item)
            token = (answer.get("meta") or {}).get("next_token")
            if not token:
                return found
            parameters = {**parameters, "pagination_token": str(token)}

    async def _manage(self, method: str, path: str, body: dict[str, Any] | None, *, who: Who = "app") -> dict[str, Any]:
        # not an effect: what was done twice is found by the next listing, and X takes no duplicates
        return await self.api.change(method, path, body, who=who, extensions=metered(metering.MANAGE), effect=False)


def _object(answer: dict[str, Any]) -> dict[str, Any]:
    data = answer.get("data")
    if isinstance(data, list):
        data = data[0] if data else None
    return data if isinstance(data, dict) else {}


def _finding(code: str, message: str, mend: str, concern: Literal["access", "push"]) -> HealthFinding:
    return HealthFinding(severity="error", code=code, message=message, mend=mend, concern=concern)
