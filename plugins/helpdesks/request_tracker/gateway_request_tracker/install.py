"""Setting up an RT: who the API user is, and the custom fields that our tickets need. Nothing calls us from there."""

from __future__ import annotations

from typing import Any

from gateway_request_tracker.api import Api, status_of
from gateway_request_tracker.config import GATEWAY_FIELDS
from gateway_request_tracker.preflight import UNSEEN, Preflight, as_steps
from gateway_request_tracker.words import text
from gateway_schemas.errors import Gone, Malformed, Rejected
from gateway_schemas.plugin import InstallReport, Step


class Installer:
    """Looks for what is there by name; makes only what is missing."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.config = api.config
        self.preflight = Preflight(api)

    async def run(self, *, dry_run: bool) -> InstallReport:
        """Every step that was done, or with `dry_run` would be; and as `ask` what only a person can do or see."""
        steps: list[Step] = []
        me = await self.me()
        found: dict[str, Any] = {"api_user": me["Name"]}
        if self.config.create_fields:
            found["fields"] = await self._fields(steps, dry_run)
        # what a dry run would make is no finding
        made = {step.what for step in steps if step.action == "create"}
        findings = [one for one in await self.preflight.run(me) if not _about(one.message, made)]
        return InstallReport(steps=(*steps, *as_steps(findings), *UNSEEN), config={} if dry_run else found)

    async def me(self) -> dict[str, Any]:
        """The user whose token it is: its number stands in the token, its name in the config."""
        wanted = self.config.user_id if self.config.user_id is not None else self.config.api_user
        if wanted is None:
            text_ = "the token does not look like RT's (1-27-…), so api_user must be given"
            raise Rejected(text_, code="no_user", field="api_user")
        user = await self.api.get(f"user/{wanted}")
        if text(user.get("Name")) is None:
            raise Malformed("the answer names no user", code="malformed")
        return user

    async def _fields(self, steps: list[Step], dry_run: bool) -> dict[str, str]:
        """The key, tags and state fields; each is made for the tickets of the one queue."""
        mapped = {**{name: name for name in GATEWAY_FIELDS}, **self.config.fields}
        queue = await self.preflight.queue(self.config.queue)
        if queue is None:
            return mapped
        tags = self.config.tags_field
        for name in Preflight(_with(self.api, mapped)).fields_missing(queue):
            steps.append(Step(action="create", what=f"custom field {name}", detail=f"for {self.config.queue}"))
            if dry_run:
                continue
            body = {
                "Name": name,
                "Type": "FreeformMultiple" if name == tags else "FreeformSingle",
                "LookupType": "RT::Queue-RT::Ticket",
                "Queue": self.config.queue,
                "Description": "Helpdesk gateway",
            }
            try:
                await self.api.send("POST", "customfield", json=body)
            except (Gone, Rejected) as error:
                if status_of(error) not in (400, 403, 404):
                    raise
                kind = "multiple values" if name == tags else "one value"
                detail = f"{error.reason}. Admin → Custom Fields → Create: “Enter {kind}”, applies to Tickets; then "
                detail += f"Applies to: {self.config.queue}; and grant the API user SeeCustomField, ModifyCustomField"
                steps[-1] = Step(action="ask", what=f"make the custom field {name} by hand", detail=detail)
        return mapped


def _with(api: Api, fields: dict[str, str]) -> Api:
    return Api(api.http, api.config.model_copy(update={"fields": fields}), api.time)


def _about(message: str, made: set[str]) -> bool:
    return any(f"custom field “{what.removeprefix('custom field ')}”" in message for what in made)
