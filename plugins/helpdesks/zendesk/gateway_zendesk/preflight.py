"""What of the account works against us: what the API shows of it, each with its name and id, and the mend."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from gateway_schemas.errors import Gone, Rejected
from gateway_schemas.plugin import HealthFinding, Step
from gateway_zendesk.api import Api, objects, status_of
from gateway_zendesk.comments import LEG_WORDS
from gateway_zendesk.rules import Rule

LIGHT_AGENT = 1
"""The `role_type` of light agents."""
_STATE_TAGS = ("gw_held", "gw_blocked", "gw_failed", "gw_unknown")
_RULES = "Admin Center → Objects and rules → Business rules"


_ACCESS = {"credentials", "role", "suspended"}
_PUSH = {
    "no_webhook",
    "webhook_gone",
    "webhook_inactive",
    "webhook_endpoint",
    "secret_changed",
    "no_secret",
    "no_trigger",
    "trigger_gone",
    "trigger_inactive",
}


def finding(severity: Literal["info", "warning", "error"], code: str, message: str, mend: str) -> HealthFinding:
    """One thing that is wrong."""
    concern: Literal["access", "push", "other"] = "access" if code in _ACCESS else "push" if code in _PUSH else "other"
    return HealthFinding(severity=severity, code=code, message=message, mend=mend, concern=concern)


def as_steps(findings: Sequence[HealthFinding]) -> list[Step]:
    """Findings as an install tells them."""
    return [Step(action="ask", what=one.message, detail=one.mend) for one in findings]


class Preflight:
    """Reads only. Raises Retry when Zendesk cannot be asked now."""

    def __init__(self, api: Api, door: str | None) -> None:
        self.api = api
        self.config = api.config
        self.door = door

    async def run(
        self, me: Mapping[str, Any], *, own_trigger: object = None, own_webhook: str | None = None
    ) -> list[HealthFinding]:
        """Every conflict. `own_trigger` and `own_webhook` are those that `install` made."""
        found = list(self._user(me))
        found += await self._assigned(me)
        if me.get("role") != "admin":
            return found  # the rest is for admins to see
        webhooks = await self._webhooks(own_webhook)
        found += [self._second_webhook(one) for one in webhooks]
        known = {own_webhook, *(str(one.get("id")) for one in webhooks)} - {None}
        for kind in ("triggers", "automations"):
            for data in await self._listed(kind):
                rule = Rule("trigger" if kind == "triggers" else "automation", data)
                if rule.active and rule.id != (own_trigger or 0) and rule.may_apply(self.config):
                    found += self._rule(rule, {str(one) for one in known})
        found += await self._settings()
        found += await self._placement()
        return found

    def _rule(self, rule: Rule, webhooks: set[str]) -> Iterator[HealthFinding]:
        tag = self.config.tag
        where = f"{_RULES} → {rule.kind.capitalize()}s"
        exclude = f"{where}: add the condition that the tags contain none of: {tag}"
        if rule.mails():
            text = f"the {rule.shown} sends mail or messages to the requesters of the gateway's tickets"
            yield finding("warning", f"{rule.kind}_mails", text, exclude)
        if rule.solves():
            text = f"the {rule.shown} solves or closes the gateway's tickets by itself"
            yield finding("warning", f"{rule.kind}_solves", text, exclude)
        if rule.tweets():
            text = f"the {rule.shown} answers on X by itself, past the company's policies"
            yield finding("error", f"{rule.kind}_tweets", text, exclude)
        if rule.surveys():
            text = f"the {rule.shown} asks the customers of the gateway's tickets for a satisfaction rating"
            yield finding("warning", f"{rule.kind}_surveys", text, exclude)
        touched = rule.tags_touched(tag) & {tag, *LEG_WORDS, *_STATE_TAGS}
        if touched:
            text = f"the {rule.shown} adds or removes tags that the gateway goes by: {', '.join(sorted(touched))}"
            yield finding("error", f"{rule.kind}_tags", text, f"{where}: take that action out of it")
        if rule.tags_asked() & set(_STATE_TAGS):
            text = f"the {rule.shown} acts on tags that say what became of an answer"
            mend = "make sure that this is meant; the gateway sets and removes them"
            yield finding("info", f"{rule.kind}_on_state", text, mend)
        if rule.calls(webhooks):
            text = f"the {rule.shown} calls the gateway too: everything it stands for is told twice"
            yield finding("warning", f"{rule.kind}_calls", text, f"{where}: deactivate it")

    def _second_webhook(self, webhook: Mapping[str, Any]) -> HealthFinding:
        text = f"the webhook “{webhook.get('name')}” ({webhook.get('id')}) calls the gateway's door too: its calls are "
        text += "signed with another secret, and refused"
        mend = "Admin Center → Apps and integrations → Webhooks: delete it"
        return finding("warning", "second_webhook", text, mend)

    def _user(self, me: Mapping[str, Any]) -> Iterator[HealthFinding]:
        name = f"the API user {me.get('name')} ({me.get('id')})"
        where = "Admin Center → People → Team members"
        if me.get("suspended") is True:
            yield finding("error", "suspended", f"{name} is suspended", f"{where}: unsuspend it")
        if me.get("only_private_comments") is True or me.get("role_type") == LIGHT_AGENT:
            text = f"{name} is a light agent, and may write private comments only"
            yield finding("error", "light_agent", text, f"{where}: give it a role that may comment publicly")
        if me.get("ticket_restriction"):
            text = f"{name} sees only some tickets ({me.get('ticket_restriction')})"
            yield finding("error", "ticket_restriction", text, f"{where}: give it access to all tickets")

    async def _assigned(self, me: Mapping[str, Any]) -> list[HealthFinding]:
        try:
            document = await self.api.get(f"users/{me['id']}/tickets/assigned", {"page[size]": "1"})
        except (Gone, Rejected):
            return []
        tickets = objects(document, "tickets")
        if not tickets:
            return []
        text = f"the API user {me.get('name')} is assigned tickets, such as {tickets[0].get('id')}: a person seems to "
        text += "work with it"
        mend = "make a user for the gateway alone: what a person writes as that user may count as the gateway's own"
        return [finding("warning", "api_user_works", text, mend)]

    async def _webhooks(self, own: str | None) -> list[dict[str, Any]]:
        if self.door is None:
            return []
        listed = await self._listed("webhooks")
        return [
            one
            for one in listed
            if one.get("endpoint") == self.door and str(one.get("id")) != own and one.get("status") == "active"
        ]

    async def _settings(self) -> list[HealthFinding]:
        try:
            settings = (await self.api.get("account/settings")).get("settings")
        except (Gone, Rejected) as error:
            text = f"the account's settings could not be read: {error.reason}"
            return [finding("info", "settings_unseen", text, "look at Admin Center → Channels and → People yourself")]
        features, users = _object(settings, "active_features"), _object(settings, "user")
        found: list[HealthFinding] = []
        if features.get("customer_satisfaction") is True:
            text = "satisfaction ratings are switched on for the account"
            mend = (
                f"Admin Center → People → End users → Satisfaction: leave tickets tagged {self.config.tag} out of them"
            )
            found.append(finding("info", "csat", text, mend))
        if users.get("agent_created_welcome_emails") is True:
            text = (
                "users that agents make are sent a welcome mail; the gateway's have no address, until someone adds one"
            )
            mend = (
                "Admin Center → People → End users: switch “Also send a welcome email when a new user is created by an "
            )
            mend += "agent” off"
            found.append(finding("warning", "welcome_emails", text, mend))
        if features.get("twitter") is True:
            found += await self._handles()
        if features.get("facebook") is True:
            text = "Zendesk's own Facebook channel is switched on"
            mend = (
                "Admin Center → Channels → Messaging and social: disconnect the pages that the gateway serves, or each "
            )
            mend += "message comes twice"
            found.append(finding("warning", "native_facebook", text, mend))
        return found

    async def _handles(self) -> list[HealthFinding]:
        listed = await self._listed("channels/twitter/monitored_twitter_handles", "monitored_twitter_handles")
        names = ", ".join(f"@{one.get('screen_name')} ({one.get('id')})" for one in listed)
        text = f"Zendesk's own X channel is connected to {names}" if names else "Zendesk's own X channel is switched on"
        mend = (
            "Admin Center → Channels → Messaging and social → X: remove the handles that the gateway serves, or each "
        )
        mend += "message comes twice"
        return [finding("warning", "native_x", text, mend)]

    async def _placement(self) -> list[HealthFinding]:
        """Fields, form and group that new tickets have, or must have."""
        fields = {one.get("id"): one for one in await self._listed("ticket_fields") if one.get("active") is not False}
        found: list[HealthFinding] = []
        for ours, number in self.config.fields.items():
            if number not in fields:
                text = f"the config's fields.{ours} names the ticket field {number}, which is not there or not active"
                found.append(finding("error", "field_missing", text, "activate the field, or correct the config"))
        for id, one in fields.items():
            if one.get("required") is True and one.get("removable") is not False:
                text = f"the ticket field “{one.get('title')}” ({id}) must be filled in before a ticket is solved"
                mend = (
                    "Admin Center → Objects and rules → Tickets → Fields: make it optional, or see that agents fill it"
                )
                found.append(finding("warning", "field_required", text, mend))
        for path, name, placed in (
            ("ticket_forms", "ticket_form", self.config.ticket_form_id),
            ("groups", "group", self.config.group_id),
        ):
            if placed is not None:
                found += await self._present(path, name, placed)
        return found

    async def _present(self, path: str, name: str, number: int) -> list[HealthFinding]:
        try:
            one = _object(await self.api.get(f"{path}/{number}"), name)
        except Gone:
            one = {"deleted": True}
        if one.get("deleted") is not True and one.get("active") is not False:
            return []
        text = f"the config names the {name.replace('_', ' ')} {number}, which is not there or not active"
        return [finding("error", f"{name}_missing", text, "correct the config")]

    async def _listed(self, path: str, name: str | None = None) -> list[dict[str, Any]]:
        try:
            return await self.api.listed(path, name or path)
        except Gone:
            return []
        except Rejected as error:
            if status_of(error) not in (403, 404):
                raise
            return []


def _object(value: object, name: str) -> Mapping[str, Any]:
    found = value.get(name) if isinstance(value, dict) else None
    return found if isinstance(found, dict) else {}
