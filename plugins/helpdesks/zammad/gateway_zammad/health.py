"""Can the connection work? Credentials, rights, webhook and trigger as `install` left them, and what works against
us."""

from __future__ import annotations

from gateway_schemas.errors import Gone, Reauthorise, Rejected
from gateway_schemas.plugin import Health, HealthFinding
from gateway_zammad.api import status_of
from gateway_zammad.install import Installer
from gateway_zammad.preflight import Preflight, finding
from gateway_zammad.words import number

_INSTALL = "run the connection's install again"


class Checker:
    """Reads only. Raises Retry when Zammad cannot be asked now."""

    def __init__(self, installer: Installer) -> None:
        self.installer = installer
        self.api = installer.api
        self.config = installer.config

    async def run(self) -> Health:
        """Everything that is wrong, with the mend of each."""
        try:
            me = await self.installer.me()
        except Reauthorise:
            found = [finding("error", "credentials", "Zammad refuses the access token", "connect the account again")]
            return Health(ok=False, findings=tuple(found))
        except (Gone, Rejected) as error:
            text = f"Zammad does not answer for the token's own user: {error.reason}"
            return Health(ok=False, findings=(finding("error", "no_access", text, "check url and the token's rights"),))
        found = []
        if self.config.api_user_id is None:
            found.append(finding("warning", "api_user", "the API user's id is not in the config", _INSTALL))
        elif self.config.api_user_id != me["id"]:
            text = "the token belongs to another user than the config says"
            found.append(finding("error", "api_user", text, _INSTALL))
        if not self.config.webhook_secrets:
            text = "no signature token is known, so every webhook is refused: answers come by polling only"
            found.append(finding("error", "no_secret", text, _INSTALL))
        ids: dict[str, int | None] = {}
        for what, id in (("webhook", self.config.webhook_id), ("trigger", self.config.trigger_id)):
            found += await self._there(what, id, ids)
        found += await Preflight(self.api, ids.get("trigger"), ids.get("webhook")).run(me)
        return Health(ok=not any(one.severity == "error" for one in found), findings=tuple(found))

    async def _there(self, what: str, id: int | None, ids: dict[str, int | None]) -> list[HealthFinding]:
        try:
            one = self.installer.find(await self.api.all(f"{what}s"), id)
        except (Gone, Rejected) as error:
            if status_of(error) not in (403, 404):
                raise
            return []  # of triggers the preflight says so
        if one is None:
            code, text = (
                f"no_{what}",
                f"no {what} is set up, so nothing calls the gateway: answers come by polling only",
            )
            if id is not None:
                code, text = f"{what}_gone", f"the {what} was deleted at Zammad: answers come by polling only"
            return [finding("error", code, text, _INSTALL)]
        ids[what] = number(one.get("id"))
        if one.get("active") is False:
            return [finding("error", f"{what}_inactive", f"the {what} “{one.get('name')}” is switched off", _INSTALL)]
        if self.installer.door is None:
            return []
        wanted = (
            self.installer.wanted_webhook("")
            if what == "webhook"
            else self.installer.wanted_trigger(ids.get("webhook") or 0)
        )
        changed = self.installer.changed(one, wanted)
        if changed:
            text = f"the {what} “{one.get('name')}” was changed at Zammad: {', '.join(changed)}"
            return [finding("warning", f"{what}_changed", text, _INSTALL)]
        return []
