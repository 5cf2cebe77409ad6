"""What of the system works against us: everything the API shows of it, each with where it is and the mend."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from gateway_schemas.errors import GatewayError, Gone, Rejected
from gateway_schemas.plugin import HealthFinding, Step
from gateway_zammad.api import Api, listed, status_of
from gateway_zammad.comments import LEG_WORDS
from gateway_zammad.config import GATEWAY_FIELDS
from gateway_zammad.rules import Rule
from gateway_zammad.words import CLOSED, number

_STATE_TAGS = ("gw_held", "gw_blocked", "gw_failed", "gw_unknown")
_CHANNELS = {
    "channels_twitter": "X (Twitter)",
    "channels_facebook": "Facebook",
    "channels_telegram": "Telegram",
    "channels/admin/whatsapp": "WhatsApp",
}
"""Where Zammad tells of the social channels of its own."""


_ACCESS = {"credentials", "no_access"}
_PUSH = {
    "no_secret",
    "no_webhook",
    "webhook_gone",
    "webhook_inactive",
    "no_trigger",
    "trigger_gone",
    "trigger_inactive",
}


def finding(severity: Literal["info", "warning", "error"], code: str, message: str, mend: str) -> HealthFinding:
    """One thing that is wrong."""
    concern: Literal["access", "push", "other"] = "access" if code in _ACCESS else "push" if code in _PUSH else "other"
    return HealthFinding(severity=severity, code=code, message=message, mend=mend, concern=concern)


class Preflight:
    """Reads only. Raises Retry when Zammad cannot be asked now."""

    def __init__(self, api: Api, own_trigger: int | None, own_webhook: int | None) -> None:
        self.api = api
        self.config = api.config
        self.own_trigger = own_trigger
        self.own_webhook = own_webhook

    async def run(self, me: Mapping[str, Any]) -> list[HealthFinding]:
        """Every conflict, of triggers and schedulers first."""
        found: list[HealthFinding] = []
        states = listed(await self.api.send("GET", "ticket_states"), "states")
        closed = {str(one.get("id")) for one in states if one.get("name") in (self.config.solved, CLOSED)}
        for kind, path in (("trigger", "triggers"), ("scheduler", "jobs")):
            for one in await self._seen(path, kind, found):
                rule = Rule("trigger" if kind == "trigger" else "scheduler", one)
                found += self._rule(rule, closed)
        found += [*self._user(me), *self._names(states, await self._priorities())]
        found += [*await self._group(), *await self._attributes(), *await self._channels()]
        return found

    async def _seen(self, path: str, kind: str, found: list[HealthFinding]) -> list[dict[str, Any]]:
        try:
            return await self.api.all(path)
        except (Gone, Rejected) as error:
            if status_of(error) not in (403, 404):
                raise
        text = f"the API user may not look at {kind}s: whether one works against the gateway is not known"
        found.append(finding("warning", f"{path}_unseen", text, f"give its role admin.{kind}"))
        return []

    def _rule(self, rule: Rule, closed: set[str]) -> Iterator[HealthFinding]:
        own = rule.kind == "trigger" and rule.id is not None and rule.id == self.own_trigger
        if not rule.active or own or not rule.may_apply(self.config):
            return
        where = "Manage → Trigger" if rule.kind == "trigger" else "Manage → Scheduler"
        exclude = f"{where}: add the condition that the tags contain none of: {self.config.tag}"
        if rule.mails():
            text = f"the {rule.shown} writes e-mail or SMS to customers about the gateway's tickets"
            yield finding("warning", "rule_mails", text, f"{exclude}. Customers without an address get none")
        if rule.closes(closed):
            text = f"the {rule.shown} closes the gateway's tickets by itself"
            yield finding("warning", "rule_closes", text, exclude)
        if rule.deletes():
            yield finding("error", "rule_deletes", f"the {rule.shown} deletes the gateway's tickets", exclude)
        if rule.writes():
            text = f"the {rule.shown} writes public articles on the gateway's tickets; the gateway publishes none"
            yield finding("info", "rule_writes", text, exclude)
        touched = rule.tags_touched() & {self.config.tag.lower(), *LEG_WORDS, *_STATE_TAGS}
        if touched:
            text = f"the {rule.shown} adds or removes tags that the gateway goes by: {', '.join(sorted(touched))}"
            yield finding("error", "rule_tags", text, f"{where}: take that action out of it")
        if rule.calls(self.own_webhook):
            text = f"the {rule.shown} calls the gateway's webhook too: everything is told twice"
            yield finding("warning", "second_webhook", text, f"{where}: delete it")

    def _user(self, me: Mapping[str, Any]) -> Iterator[HealthFinding]:
        name, where = me.get("login"), "Manage → Users"
        if me.get("active") is False:
            yield finding("error", "api_user_inactive", f"the API user {name} is not active", f"{where}: activate it")
        groups = me.get("group_ids")
        if isinstance(groups, dict) and not groups:
            text = f"the API user {name} has access to no group"
            yield finding("error", "api_user_groups", text, f"{where}: give it full access to {self.config.group}")
        if isinstance(me.get("out_of_office"), bool) and me["out_of_office"]:
            text = f"the API user {name} is out of office: a person seems to work with it"
            yield finding("warning", "api_user_works", text, "make an agent for the gateway alone")

    async def _priorities(self) -> list[dict[str, Any]]:
        return listed(await self.api.send("GET", "ticket_priorities"), "priorities")

    def _names(
        self, states: Sequence[Mapping[str, Any]], priorities: Sequence[Mapping[str, Any]]
    ) -> Iterator[HealthFinding]:
        active = {str(one.get("name")) for one in states if one.get("active") is not False}
        config = self.config
        for name in sorted({config.new, config.open, config.waiting, config.solved, *config.states} - active):
            text = f"the config names the ticket state “{name}”, which the system does not have or has switched off"
            yield finding("error", "state_unknown", text, "correct the config, or look at Manage → Ticket States")
        there = {str(one.get("name")) for one in priorities if one.get("active") is not False}
        wanted = {self.config.their_priority(one) for one in ("low", "normal", "high", "urgent")}
        for name in sorted(wanted - there):
            text = f"the config names the priority “{name}”, which the system does not have or has switched off"
            yield finding("error", "priority_unknown", text, "map our priorities to the system's in priorities")

    async def _group(self) -> list[HealthFinding]:
        groups = listed(await self.api.send("GET", "groups"), "groups")
        group = next((one for one in groups if one.get("name") == self.config.group), None)
        if group is None or group.get("active") is False:
            text = f"the config's group “{self.config.group}” does not exist, is inactive, or is not the API user's"
            return [finding("error", "group_unknown", text, "correct the config, or give the API user access to it")]
        found = []
        if group.get("follow_up_possible") == "new_ticket" and not self.config.closed_is_final:
            text = f"the group “{self.config.group}” wants a new ticket for what comes after closing"
            found.append(finding("info", "follow_up", text, "set closed_is_final, and the gateway opens follow-ups"))
        if number(group.get("assignment_timeout")) is not None:
            text = f"the group “{self.config.group}” takes tickets away from agents who do not answer in time"
            found.append(finding("info", "unassigns", text, "make sure that this is meant; Manage → Groups has it"))
        return found

    async def _attributes(self) -> list[HealthFinding]:
        try:
            every = listed(await self.api.send("GET", "object_manager_attributes"), "attributes")
        except (Gone, Rejected) as error:
            if status_of(error) not in (403, 404):
                raise
            if not self.config.fields:
                return []
            text = "the API user may not look at object attributes: whether the mapped ones exist is not known"
            return [finding("info", "attributes_unseen", text, "give its role admin.object")]
        named = {str(one.get("name")): one for one in every if one.get("object") == "Ticket"}
        found = []
        for ours, theirs in self.config.fields.items():
            one = named.get(theirs)
            if one is None or one.get("active") is False:
                # Zammad passes over what it does not know without a word
                text = f"the config's fields.{ours} names the attribute {theirs}, which tickets do not have"
                found.append(finding("error", "field_missing", text, "make it in Manage → Objects, or let install"))
            elif one.get("to_create") is True or one.get("to_migrate") is True:
                text = f"the attribute {theirs} waits for the database to be updated"
                found.append(finding("error", "field_pending", text, "Manage → Objects → Ticket: update database"))
            elif ours in GATEWAY_FIELDS and one.get("data_type") not in ("input", "textarea"):
                text = f"the attribute {theirs}, mapped as {ours}, is a {one.get('data_type')} and takes no text"
                found.append(finding("error", "field_type", text, "map a single-line text attribute"))
        return found

    async def _channels(self) -> list[HealthFinding]:
        found = []
        for path, channel in _CHANNELS.items():
            try:
                told = await self.api.get(path)
            except GatewayError as error:
                if status_of(error) in (401, 403, 404, 422):
                    continue  # not to be seen, or a version without it
                raise
            assets = told.get("assets")
            channels = assets.get("Channel") if isinstance(assets, dict) else None
            active = [
                one
                for one in (channels.values() if isinstance(channels, dict) else ())
                if isinstance(one, dict) and one.get("active") is not False
            ]
            if active:
                text = f"Zammad's own {channel} channel is connected"
                mend = f"Manage → Channels → {channel}: disconnect the accounts that the gateway serves, or each "
                mend += "message comes twice and answers go out by both"
                found.append(finding("warning", "native_channel", text, mend))
        return found


def as_steps(findings: Sequence[HealthFinding]) -> list[Step]:
    """Findings as an install tells them."""
    return [Step(action="ask", what=one.message, detail=one.mend) for one in findings]
