"""What of the account works against us: everything the API shows of it, each with where it is and the mend."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any, Literal

from gateway_freshdesk.api import LIST, Api, objects, status_of
from gateway_freshdesk.comments import LEG_WORDS
from gateway_freshdesk.config import GATEWAY_FIELDS
from gateway_freshdesk.rules import KINDS, Rule
from gateway_freshdesk.words import NATIVE_SOURCES, iso, number
from gateway_schemas.errors import GatewayError, Gone, Malformed, Rejected
from gateway_schemas.http import json_object
from gateway_schemas.plugin import HealthFinding, Step

LOOK_BACK = timedelta(days=30)
GLOBAL_SCOPE = 1
_STATE_TAGS = ("gw_held", "gw_blocked", "gw_failed", "gw_unknown")
_EXCLUDE = "Admin → Workflows → Automations: add the condition that the ticket's tags are none of: "

UNSEEN = (
    Step(
        action="ask",
        what="look at Admin → Workflows → Email notifications → Requester notifications",
        detail="the API does not show them: notices of a new ticket, a comment or a solved ticket reach whoever has an "
        "e-mail address. The gateway's contacts have none; do not add one to them",
    ),
    Step(
        action="ask",
        what="look at Admin → Channels → Social",
        detail="the API does not show which X and Facebook accounts are connected: one that the gateway serves makes "
        "a second ticket of every message; disconnect it",
    ),
)
"""What Freshdesk's API shows nobody, told at each install."""


_ACCESS = {"credentials", "no_access"}
_PUSH = {"no_secret", "no_rule", "rule_gone", "rule_inactive"}


def finding(severity: Literal["info", "warning", "error"], code: str, message: str, mend: str) -> HealthFinding:
    """One thing that is wrong."""
    concern: Literal["access", "push", "other"] = "access" if code in _ACCESS else "push" if code in _PUSH else "other"
    return HealthFinding(severity=severity, code=code, message=message, mend=mend, concern=concern)


class Preflight:
    """Reads only. Raises Retry when Freshdesk cannot be asked now."""

    def __init__(self, api: Api, door: str | None, own_rule: int | None) -> None:
        self.api = api
        self.config = api.config
        self.door = door
        self.own_rule = own_rule

    async def run(self, me: Mapping[str, Any]) -> list[HealthFinding]:
        """Every conflict, of rules first."""
        found: list[HealthFinding] = []
        try:
            found += [one for rule in await self.rules() for one in self._rule(rule)]
        except Rejected as error:
            if status_of(error) not in (403, 404):
                raise
            text = "the API user may not look at automation rules: whether one works against the gateway is not known"
            found.append(finding("warning", "rules_unseen", text, "give the API user the role of an administrator"))
        except Gone:
            found.append(
                finding(
                    "info",
                    "no_rules",
                    "the plan has no automation rules: answers come by polling only",
                    "Growth has them",
                )
            )
        found += [*self._user(me), *await self._recent(me), *await self._surveys()]
        found += [*await self._ticket_fields(), *await self._contact_fields()]
        return found

    async def rules(self) -> list[Rule]:
        """All rules of the account, active or not."""
        found: list[Rule] = []
        for kind in KINDS:
            response = await self.api.send("GET", f"automations/{kind}/rules")
            try:
                listed: Any = objects(response, "automation rules")
            except Malformed:
                listed = json_object(response).get("rules")
            found += [Rule(kind, one) for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
        return found

    def _rule(self, rule: Rule) -> Iterator[HealthFinding]:
        if not rule.active or rule.id == self.own_rule or not rule.may_apply(self.config):
            return
        tag, exclude = self.config.tag, f"{_EXCLUDE}{self.config.tag}"
        if rule.mails():
            text = f"the {rule.shown} sends e-mail about the gateway's tickets to requesters or others"
            yield finding("warning", "rule_mails", text, exclude)
        if rule.closes():
            text = f"the {rule.shown} resolves or closes the gateway's tickets by itself"
            yield finding("warning", "rule_closes", text, exclude)
        if rule.trashes():
            text = f"the {rule.shown} deletes the gateway's tickets or marks them as spam"
            yield finding("error", "rule_deletes", text, exclude)
        if rule.writes():
            text = f"the {rule.shown} writes notes on the gateway's tickets; the gateway publishes none of them"
            yield finding("info", "rule_writes", text, exclude)
        touched = rule.tags_touched()
        if touched & {tag.lower(), *LEG_WORDS, *_STATE_TAGS}:
            names = ", ".join(sorted(touched & {tag.lower(), *LEG_WORDS, *_STATE_TAGS}))
            text = f"the {rule.shown} adds or removes tags that the gateway goes by: {names}"
            yield finding(
                "error", "rule_tags", text, "Admin → Workflows → Automations: take that action out of the rule"
            )
        if rule.tags_asked() & set(_STATE_TAGS):
            text = f"the {rule.shown} acts on tags that say what became of an answer"
            yield finding(
                "info", "rule_on_state", text, "make sure that this is meant; the gateway sets and removes them"
            )
        if self.door is not None and rule.calls(self.door):
            text = (
                f"the {rule.shown} calls the gateway's door too: everything is told twice, and counts against the limit"
            )
            yield finding("warning", "second_webhook", text, "Admin → Workflows → Automations: delete that rule")

    def _user(self, me: Mapping[str, Any]) -> Iterator[HealthFinding]:
        contact = me.get("contact")
        name = contact.get("name") if isinstance(contact, dict) else me.get("id")
        where = "Admin → Team → Agents"
        if me.get("ticket_scope") not in (GLOBAL_SCOPE, None):
            text = f"the API user {name} sees only some tickets (its scope is not global)"
            yield finding("error", "api_user_scope", text, f"{where}: give it global access to tickets")
        if me.get("occasional") is True:
            text = f"the API user {name} is an occasional agent, and works only on days with a day pass"
            yield finding("error", "api_user_occasional", text, f"{where}: make it a full-time agent")
        if me.get("type") == "collaborator" or me.get("agent_type") == 3:
            text = f"the API user {name} is a collaborator, who may write private notes only"
            yield finding("error", "api_user_light", text, f"{where}: make it a support agent")
        if isinstance(contact, dict) and contact.get("active") is False:
            text = f"the API user {name} has not activated its account"
            yield finding(
                "warning", "api_user_inactive", text, f"{where}: send the activation mail again and follow it"
            )

    async def _recent(self, me: Mapping[str, Any]) -> list[HealthFinding]:
        """What the newest hundred tickets tell: of channels that nothing else shows, and of who works with the key."""
        asked = {
            "updated_since": iso(self.api.time.now() - LOOK_BACK),
            "order_by": "updated_at",
            "order_type": "desc",
        }
        tickets, _ = await self.api.page("tickets", asked, bucket=LIST)
        found: list[HealthFinding] = []
        for source, channel in NATIVE_SOURCES.items():
            made = next((one.get("id") for one in tickets if one.get("source") == source), None)
            if made is not None:
                text = f"Freshdesk's own {channel} channel is connected and makes tickets, such as {made}"
                mend = "Admin → Channels: disconnect the accounts that the gateway serves, or each message comes twice"
                found.append(finding("warning", "native_channel", text, mend))
        mine = next((one.get("id") for one in tickets if one.get("responder_id") == me.get("id")), None)
        if mine is not None:
            text = f"the API user is assigned tickets, such as {mine}: a person seems to work with it"
            mend = "make an agent for the gateway alone: what a person writes with its login is not taken as an answer"
            found.append(finding("warning", "api_user_works", text, mend))
        return found

    async def _surveys(self) -> list[HealthFinding]:
        found: list[HealthFinding] = []
        for path, asked in (("surveys", {"state": "active"}), ("customer-satisfaction/surveys", {"state": "ACTIVE"})):
            try:
                response = await self.api.send("GET", path, params=asked)
                try:
                    listed: Any = objects(response, "surveys")
                except Malformed:
                    listed = json_object(response).get("data")
            except (Gone, Rejected):
                continue  # the plan has no such surveys
            for one in listed if isinstance(listed, list) else ():
                if isinstance(one, dict):
                    text = f"the satisfaction survey “{one.get('title')}” ({one.get('id')}) is active"
                    mend = "Admin → Workflows → Customer satisfaction: leave the gateway's tickets out of it; their "
                    mend += "customers have no e-mail address, and one who gets one would be asked"
                    found.append(finding("warning", "survey", text, mend))
        return found

    async def _ticket_fields(self) -> list[HealthFinding]:
        fields = objects(await self.api.send("GET", "ticket_fields"), "ticket fields")
        named = {str(one.get("name")): one for one in fields}
        found = [*self._mapped(named), *self._choices(named)]
        always = {self.config.fields.get("ticket_key")}
        for name, one in named.items():
            if name.startswith("cf_") and one.get("required_for_agents") is True and name not in always:
                text = f"the ticket field “{one.get('label')}” ({name}) is required: tickets by the API are refused"
                mend = "Admin → Workflows → Ticket fields: do not require it when a ticket is submitted"
                found.append(finding("error", "field_required", text, mend))
        return found

    def _mapped(self, named: Mapping[str, Mapping[str, Any]]) -> Iterator[HealthFinding]:
        for ours, theirs in self.config.fields.items():
            if theirs not in named:
                text = f"the config's fields.{ours} names the ticket field {theirs}, which does not exist"
                yield finding("error", "field_missing", text, "make the field, or correct the config")
            elif ours in GATEWAY_FIELDS and "text" not in str(named[theirs].get("type")):
                text = (
                    f"the ticket field {theirs}, mapped as {ours}, is a {named[theirs].get('type')} and takes no text"
                )
                yield finding("error", "field_type", text, "map a single-line text field")

    def _choices(self, named: Mapping[str, Mapping[str, Any]]) -> Iterator[HealthFinding]:
        statuses = _codes(named.get("status", {}).get("choices"))
        for code in sorted({self.config.waiting, *self.config.statuses} - statuses) if statuses else ():
            text = f"the config names the ticket status {code}, which the account does not have"
            yield finding("error", "status_unknown", text, "Admin → Workflows → Ticket fields → Status shows them")
        sources = _codes(named.get("source", {}).get("choices"))
        if sources and self.config.source not in sources:
            text = f"the config names the ticket source {self.config.source}, which the account does not have"
            yield finding("error", "source_unknown", text, "Admin → Workflows → Ticket fields → Source shows them")

    async def _contact_fields(self) -> list[HealthFinding]:
        try:
            fields = objects(await self.api.send("GET", "contact_fields"), "contact fields")
        except GatewayError as error:
            if status_of(error) in (403, 404):
                return []
            raise
        return [
            finding(
                "error",
                "contact_field_required",
                f"the contact field “{one.get('label')}” ({one.get('name')}) is required: customers cannot be made",
                "Admin → Workflows → Contact fields: do not require it of agents",
            )
            for one in fields
            if one.get("required_for_agents") is True and one.get("name") not in ("name", "email")
        ]


def as_steps(findings: Sequence[HealthFinding]) -> list[Step]:
    """Findings as an install tells them."""
    return [Step(action="ask", what=one.message, detail=one.mend) for one in findings]


def _codes(choices: object) -> set[int]:
    """The numbers of a field's choices, which are keys in one field and values in another."""
    if not isinstance(choices, dict):
        return set()
    return {code for pair in choices.items() for one in pair if (code := number(one)) is not None}
