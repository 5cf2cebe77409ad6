"""Is the connection well: credentials, inbox, webhook, and what works against us."""

from __future__ import annotations

from typing import Any

from gateway_chatwoot.install import Installer
from gateway_chatwoot.preflight import finding
from gateway_schemas.errors import Gone, Reauthorise, Rejected
from gateway_schemas.plugin import Health, HealthFinding

_INSTALL = "call the connection's install"


class Checker:
    """Raises Retry when Chatwoot cannot be asked now."""

    def __init__(self, installer: Installer) -> None:
        self.installer = installer
        self.api = installer.api
        self.config = installer.config

    async def run(self) -> Health:
        """Everything that is wrong. What only administrators may see is left out for others, and said."""
        try:
            me = await self.api.me()
        except Reauthorise:
            found = [finding("error", "credentials", "Chatwoot refuses the API token", "connect the account again")]
            return Health(ok=False, findings=tuple(found))
        except (Gone, Rejected) as error:
            text = f"Chatwoot does not answer for the token's own user: {error.reason}"
            return Health(ok=False, findings=(finding("error", "no_access", text, "check base_url"),))
        found = []
        if self.config.api_user_id is None:
            found.append(finding("warning", "api_user", "the API user's id is not in the config", _INSTALL))
        elif self.config.api_user_id != me["id"]:
            text = "the API token belongs to another user than the config says"
            found.append(finding("error", "api_user", text, _INSTALL))
        try:
            inbox = self._inbox(await self.installer.preflight.inboxes(), found)
        except Reauthorise as error:
            text = f"the API user may not act in account {self.config.account_id}: {error.reason}"
            return Health(ok=False, findings=(*found, finding("error", "account", text, "correct account_id")))
        found += await self._webhook()
        found += await self.installer.preflight.run(me, inbox)
        return Health(ok=not any(one.severity == "error" for one in found), findings=tuple(found))

    def _inbox(self, inboxes: list[dict[str, Any]], found: list[HealthFinding]) -> dict[str, Any] | None:
        inbox = self.installer.find_inbox(inboxes)
        if self.config.inbox_id is None:
            found.append(finding("error", "no_inbox", "no inbox is set up", _INSTALL))
        elif inbox is None:
            text = f"inbox {self.config.inbox_id} was deleted, or the API user does not see it"
            found.append(finding("error", "inbox_gone", text, f"clear inbox_id and {_INSTALL}"))
        return inbox

    async def _webhook(self) -> list[HealthFinding]:
        if not self.config.webhook_secrets and self.config.url_token is None:
            text = "neither a webhook secret nor a url_token is known, so every webhook is refused: polling alone"
            return [finding("error", "no_secret", text, _INSTALL)]
        try:
            webhooks = await self.installer.preflight.webhooks()
        except (Reauthorise, Gone, Rejected):
            return []  # for administrators only; said by the preflight
        ours = self.installer.find_webhook(webhooks)
        if ours is None:
            text = "no webhook calls the gateway: answers come by polling only"
            return [finding("error", "no_webhook", text, _INSTALL)]
        differs = self.installer.webhook_differs(ours) if self.installer.door is not None else []
        if differs:
            text = f"the webhook was changed at Chatwoot: {', '.join(differs)}"
            return [finding("error", "webhook_changed", text, _INSTALL)]
        if not self.config.webhook_secrets:
            text = "this release of Chatwoot does not sign webhooks: each is taken as a hint, and asked after"
            return [finding("info", "unsigned", text, "update Chatwoot, then install again")]
        return []
