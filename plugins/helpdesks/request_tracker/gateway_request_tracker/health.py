"""Can the connection work? Credentials, rights, custom fields, and what of the system works against us."""

from __future__ import annotations

from gateway_request_tracker.install import Installer
from gateway_request_tracker.preflight import finding
from gateway_schemas.errors import Gone, Reauthorise, Rejected
from gateway_schemas.plugin import Health


class Checker:
    """Reads only. Raises Retry when RT cannot be asked now."""

    def __init__(self, installer: Installer) -> None:
        self.installer = installer
        self.config = installer.config

    async def run(self) -> Health:
        """Everything that is wrong, with the mend of each."""
        try:
            me = await self.installer.me()
        except Reauthorise:
            found = [finding("error", "credentials", "RT refuses the token", "connect the account again")]
            return Health(ok=False, findings=tuple(found))
        except (Gone, Rejected) as error:
            text = f"RT does not answer for the token's own user: {error.reason}"
            mend = "check url, token and api_user; the user must be privileged to see itself"
            return Health(ok=False, findings=(finding("error", "no_access", text, mend),))
        found = []
        if self.config.api_user is None:
            text = "the API user's name is not in the config: its own writing would count as somebody's"
            found.append(finding("error", "api_user", text, "run the connection's install"))
        elif self.config.api_user != me["Name"]:
            text = f"the token belongs to {me['Name']}, and not to {self.config.api_user} as the config says"
            found.append(finding("error", "api_user", text, "run the connection's install again"))
        found += await self.installer.preflight.run(me)
        return Health(ok=not any(one.severity == "error" for one in found), findings=tuple(found))
