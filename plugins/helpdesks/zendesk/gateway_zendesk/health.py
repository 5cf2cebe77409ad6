"""Can the connection work? Credentials, rights, webhook and trigger as `install` left them, and conflicts."""

from __future__ import annotations

from gateway_schemas.errors import Gone, Reauthorise, Rejected
from gateway_schemas.plugin import Health, HealthFinding
from gateway_zendesk.install import Installer, differences
from gateway_zendesk.preflight import Preflight, finding

_INSTALL = "run the connection's install again"


class Checker:
    """Reads only. Raises Retry when Zendesk cannot be asked now."""

    def __init__(self, installer: Installer) -> None:
        self.installer = installer
        self.api = installer.api
        self.config = installer.config

    async def run(self) -> Health:
        """Everything that is wrong, with the mend of each."""
        findings: list[HealthFinding] = []
        try:
            me = await self.installer.me()
        except Reauthorise:
            findings.append(
                finding("error", "credentials", "Zendesk refuses the credentials", "connect the account again")
            )
            return Health(ok=False, findings=tuple(findings))
        role = me.get("role")
        if role not in ("agent", "admin"):
            mend = "give the API user an agent's or admin's role"
            findings.append(finding("error", "role", f"the API user is {role}, not staff", mend))
            return Health(ok=False, findings=tuple(findings))
        if self.config.api_user_id is None:
            findings.append(finding("warning", "api_user", "the API user's id is not in the config", _INSTALL))
        elif self.config.api_user_id != me["id"]:
            findings.append(
                finding("error", "api_user", "the token belongs to another user than the config says", _INSTALL)
            )
        if role != "admin":
            text = "the API user is no admin: webhook and trigger cannot be looked at, and polling does not work"
            findings.append(finding("warning", "not_admin", text, "make the API user an admin"))
        else:
            await self._webhook(findings)
            await self._trigger(findings)
        if not self.config.signing_secrets:
            text = "no signing secret is known, so every webhook is refused"
            findings.append(finding("error", "no_secret", text, _INSTALL))
        findings += await Preflight(self.api, self.installer.door).run(
            me, own_trigger=self.config.trigger_id, own_webhook=self.config.webhook_id
        )
        return Health(ok=not any(one.severity == "error" for one in findings), findings=tuple(findings))

    async def _webhook(self, findings: list[HealthFinding]) -> None:
        webhook_id = self.config.webhook_id
        if webhook_id is None:
            findings.append(
                finding("error", "no_webhook", "no webhook is set up: answers come by polling only", _INSTALL)
            )
            return
        try:
            webhook = (await self.api.get(f"webhooks/{webhook_id}")).get("webhook")
            answer = (await self.api.get(f"webhooks/{webhook_id}/signing_secret")).get("signing_secret")
        except (Gone, Rejected):
            findings.append(finding("error", "webhook_gone", "the webhook was deleted at Zendesk", _INSTALL))
            return
        if not isinstance(webhook, dict) or webhook.get("status") != "active":
            findings.append(finding("error", "webhook_inactive", "the webhook is switched off at Zendesk", _INSTALL))
        elif self.installer.door is not None and webhook.get("endpoint") != self.installer.door:
            findings.append(finding("error", "webhook_endpoint", "the webhook calls another address", _INSTALL))
        secret = answer.get("secret") if isinstance(answer, dict) else None
        known = [one.get_secret_value() for one in self.config.signing_secrets]
        if known and secret not in known:
            text = "the signing secret was reset at Zendesk: webhooks are refused"
            findings.append(finding("error", "secret_changed", text, _INSTALL))

    async def _trigger(self, findings: list[HealthFinding]) -> None:
        if self.config.trigger_id is None:
            findings.append(
                finding("error", "no_trigger", "no trigger is set up, so nothing calls the webhook", _INSTALL)
            )
            return
        try:
            trigger = (await self.api.get(f"triggers/{self.config.trigger_id}")).get("trigger")
        except Gone:
            findings.append(finding("error", "trigger_gone", "the trigger was deleted at Zendesk", _INSTALL))
            return
        if not isinstance(trigger, dict) or trigger.get("active") is False:
            findings.append(finding("error", "trigger_inactive", "the trigger is switched off at Zendesk", _INSTALL))
        elif self.config.webhook_id is not None:
            changed = differences(trigger, self.installer.wanted_trigger(self.config.webhook_id))
            changed.pop("title", None)
            if changed:
                text = f"the trigger was changed at Zendesk: {', '.join(sorted(changed))}"
                findings.append(finding("warning", "trigger_changed", text, _INSTALL))
