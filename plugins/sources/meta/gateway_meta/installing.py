"""Setting up at Meta: the App's webhook for each kind of account, and the App subscribed to the account.

Graph API, "Webhooks": an App has one callback for each object (`page`, `instagram`); Pages and Instagram accounts with
an own login are then subscribed one by one (`subscribed_apps`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gateway_meta.api import Api, after, objects
from gateway_schemas.errors import GatewayError, Reauthorise, Rejected
from gateway_schemas.plugin import AccountRef, InstallReport, Step

PAGE_FIELDS = ("feed", "mention", "ratings")
PAGE_MESSAGE_FIELDS = ("messages", "message_edits", "message_echoes", "messaging_postbacks")
INSTAGRAM_FIELDS = ("comments", "live_comments", "mentions")
INSTAGRAM_MESSAGE_FIELDS = ("messages", "message_edits", "messaging_postbacks")
_LINK_FIELD = "feed"
"""What the linked Page is subscribed to where Meta tells of an Instagram account through it: any field will do."""
_ACCOUNT = "instagram_business_account{id,username,name}"


class Installer:
    """Webhook and subscription of one account."""

    def __init__(self, api: Api, door: str | None) -> None:
        self.api = api
        self.config = api.config
        self.door = door

    @property
    def object(self) -> str:
        """What the App's webhook calls this kind of account."""
        return self.config.platform

    @property
    def fields(self) -> tuple[str, ...]:
        """What the webhook is to tell of."""
        if self.config.instagram:
            return INSTAGRAM_FIELDS + (INSTAGRAM_MESSAGE_FIELDS if self.config.messages else ())
        return PAGE_FIELDS + (PAGE_MESSAGE_FIELDS if self.config.messages else ())

    @property
    def account_fields(self) -> tuple[str, ...]:
        """What the account itself is subscribed to."""
        return (_LINK_FIELD,) if self.config.instagram and self.config.page_id else self.fields

    async def install(self, *, dry_run: bool) -> InstallReport:
        """Register the App's door for this kind of account, then subscribe the account. Raises GatewayError."""
        if self.door is None:
            raise Rejected("the gateway has no public address; Meta can only tell an https address", code="no_door")
        steps: list[Step] = []
        if await self._webhook(self.door, steps, dry_run):
            await self._subscribe(steps, dry_run)
        return InstallReport(steps=tuple(steps))

    async def _webhook(self, door: str, steps: list[Step], dry_run: bool) -> bool:
        what = f"webhook for {self.object}"
        existing = await self.webhook()
        url = existing.get("callback_url") if existing else None
        if url and url != door:
            detail = (
                f"the App tells its {self.object} events to {url}, and Meta knows one address for each kind of "
                "account; take that away in the App's dashboard, or use an App of its own"
            )
            steps.append(Step(action="ask", what=what, detail=detail))
            return False
        has = _field_names(existing)
        missing = [field for field in self.fields if field not in has]
        if existing and existing.get("active") and not missing:
            steps.append(Step(action="keep", what=what, detail=door))
            return True
        detail = door if not existing else f"{door}: {', '.join(missing) or 'switched on again'}"
        steps.append(Step(action="update" if existing else "create", what=what, detail=detail))
        if not dry_run:
            body = {
                "object": self.object,
                "callback_url": door,
                "verify_token": self.api.app.verify_token.get_secret_value(),
                "fields": ",".join(dict.fromkeys([*has, *self.fields])),
                "include_values": True,
            }
            # not an effect: the same subscription made twice is one
            await self.api.change("POST", f"{self.api.app.app_id}/subscriptions", body, who="app", effect=False)
        return True

    async def webhook(self) -> dict[str, Any] | None:
        """The App's webhook for this kind of account. Raises GatewayError."""
        _, answer = await self.api.get(f"{self.api.app.app_id}/subscriptions", who="app")
        return next((one for one in objects(answer) if one.get("object") == self.object), None)

    def lacking(self, webhook: dict[str, Any] | None) -> list[str]:
        """What the webhook does not tell of."""
        return [field for field in self.fields if field not in _field_names(webhook)]

    async def _subscribe(self, steps: list[Step], dry_run: bool) -> None:
        what = f"subscription of {self._subscribed_node}"
        has = await self.subscribed()
        missing = [field for field in self.account_fields if field not in (has or ())]
        if has is not None and not missing:
            steps.append(Step(action="keep", what=what, detail=", ".join(has)))
            return
        steps.append(Step(action="create" if has is None else "update", what=what, detail=", ".join(missing)))
        if not dry_run:
            # Meta replaces the list of fields: what another tool of the same App asked for stays
            wanted = {"subscribed_fields": ",".join(dict.fromkeys([*(has or ()), *self.account_fields]))}
            await self.api.change("POST", f"{self._subscribed_node}/subscribed_apps", effect=False, parameters=wanted)

    @property
    def _subscribed_node(self) -> str:
        return self.config.page or self.config.account_id

    async def subscribed(self) -> list[str] | None:
        """The fields that the App is subscribed to at the account; None where it is not subscribed at all."""
        _, answer = await self.api.get(f"{self._subscribed_node}/subscribed_apps")
        mine = next((one for one in objects(answer) if str(one.get("id")) == self.api.app.app_id), None)
        if mine is None:
            return None
        names = mine.get("subscribed_fields")
        return [name for name in names if isinstance(name, str)] if isinstance(names, list) else []

    # accounts

    async def discover(self) -> Sequence[AccountRef]:
        """The Pages that the token can act for, and the Instagram accounts linked to them. Raises GatewayError."""
        if self.config.instagram_login:
            _, me = await self.api.get("me", {"fields": "user_id,username,name"})
            id = str(me.get("user_id") or me.get("id"))
            config = {"platform": "instagram", "account_id": id}
            return [AccountRef(external_id=id, name=_name(me, id), handle=_text(me.get("username")), config=config)]
        try:
            pages = await self._pages()
        except Reauthorise:
            raise
        except GatewayError:
            # a Page's own token has no accounts: it is one
            _, me = await self.api.get("me", {"fields": f"id,name,username,{_ACCOUNT}"}, who="entered")
            pages = [me]
        return [ref for page in pages for ref in _refs(page)]

    async def _pages(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        parameters = {"fields": f"id,name,username,access_token,{_ACCOUNT}", "limit": "100"}
        while True:
            _, answer = await self.api.get("me/accounts", parameters, who="entered")
            found += objects(answer)
            token = after(answer)
            if token is None:
                return found
            parameters = {**parameters, "after": token}


def _refs(page: dict[str, Any]) -> list[AccountRef]:
    id = _text(page.get("id"))
    if id is None:
        return []
    token = _text(page.get("access_token"))
    secret = {"access_token": token} if token else {}
    refs = [
        AccountRef(
            external_id=id,
            name=_name(page, id),
            handle=_text(page.get("username")),
            config={"platform": "page", "account_id": id, **secret},
        )
    ]
    linked = page.get("instagram_business_account")
    if isinstance(linked, dict) and (account := _text(linked.get("id"))):
        config = {"platform": "instagram", "account_id": account, "page_id": id, **secret}
        name = f"{_name(linked, account)} (Instagram)"
        refs.append(AccountRef(external_id=account, name=name, handle=_text(linked.get("username")), config=config))
    return refs


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _name(node: dict[str, Any], id: str) -> str:
    return _text(node.get("name")) or _text(node.get("username")) or id


def _field_names(webhook: dict[str, Any] | None) -> list[str]:
    """The fields of an App's webhook: names, or objects with a name and a version."""
    names = webhook.get("fields") if webhook else None
    found = [one.get("name") if isinstance(one, dict) else one for one in (names if isinstance(names, list) else ())]
    return [name for name in found if isinstance(name, str)]
