"""Can the connection work? Credentials, rights, the rule as `install` left it, and what works against us."""

from __future__ import annotations

from gateway_freshdesk.api import status_of
from gateway_freshdesk.install import ADMIN, Installer
from gateway_freshdesk.preflight import Preflight, finding
from gateway_schemas.errors import Gone, Reauthorise, Rejected
from gateway_schemas.plugin import Health, HealthFinding

_INSTALL = "run the connection's install again"


class Checker:
    """Reads only. Raises Retry when Freshdesk cannot be asked now."""

    def __init__(self, installer: Installer) -> None:
        self.installer = installer
        self.api = installer.api
        self.config = installer.config

    async def run(self) -> Health:
        """Everything that is wrong, with the mend of each."""
        try:
            me = await self.installer.me()
        except Reauthorise:
            found = [finding("error", "credentials", "Freshdesk refuses the API key", "connect the account again")]
            return Health(ok=False, findings=tuple(found))
        except (Gone, Rejected) as error:
            text = f"Freshdesk does not answer for the key's own agent: {error.reason}"
            mend = "check the address, and that the plan has an API (the free one has none)"
            return Health(ok=False, findings=(finding("error", "no_access", text, mend),))
        found = []
        if self.config.api_user_id is None:
            found.append(finding("warning", "api_user", "the API user's id is not in the config", _INSTALL))
        elif self.config.api_user_id != me["id"]:
            text = "the API key belongs to another agent than the config says"
            found.append(finding("error", "api_user", text, _INSTALL))
        if not self.config.webhook_secrets:
            text = "no webhook secret is known, so every webhook is refused: answers come by polling only"
            found.append(finding("error", "no_secret", text, _INSTALL))
        preflight = Preflight(self.api, self.installer.door, None)
        found += await self._rule(preflight)
        found += await preflight.run(me)
        return Health(ok=not any(one.severity == "error" for one in found), findings=tuple(found))

    async def _rule(self, preflight: Preflight) -> list[HealthFinding]:
        try:
            rule = self.installer.find_rule(await preflight.rules())
        except (Gone, Rejected) as error:
            if status_of(error) not in (403, 404):
                raise
            return []  # said by the preflight
        if rule is None:
            code, text = ("no_rule", "no automation rule is set up, so nothing calls the gateway")
            if self.config.rule_id is not None:
                code, text = ("rule_gone", "the automation rule was deleted at Freshdesk")
            return [finding("error", code, f"{text}: answers come by polling only", _INSTALL)]
        preflight.own_rule = rule.id
        if not rule.active:
            text = f"the {rule.shown} is switched off"
            return [finding("error", "rule_inactive", text, f"{ADMIN}: switch it on, or {_INSTALL}")]
        changed = self.installer.changed(rule) if self.installer.door is not None else []
        if changed:
            text = f"the {rule.shown} was changed at Freshdesk: {', '.join(changed)}"
            return [finding("warning", "rule_changed", text, _INSTALL)]
        return []
