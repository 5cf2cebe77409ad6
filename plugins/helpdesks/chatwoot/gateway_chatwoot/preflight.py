"""What of the account works against us: everything the API shows of it, each with where it is and the mend."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from gateway_chatwoot.api import Api, objects, status_of
from gateway_chatwoot.messages import LEG_LABELS
from gateway_chatwoot.payloads import label
from gateway_chatwoot.words import number, words
from gateway_schemas.errors import Gone, Reauthorise, Rejected
from gateway_schemas.http import json_object
from gateway_schemas.plugin import HealthFinding, Step

STATE_LABELS = ("gw_held", "gw_blocked", "gw_failed", "gw_unknown")
SEEN_LABELS = (*STATE_LABELS, "reply-public", "reply-private")
"""Labels that agents see and set: Chatwoot's dashboard shows none that is not defined."""
NATIVE = {
    "Channel::FacebookPage": "Facebook",
    "Channel::Instagram": "Instagram",
    "Channel::TwitterProfile": "X (Twitter)",
    "Channel::Tiktok": "TikTok",
    "Channel::Whatsapp": "WhatsApp",
    "Channel::Telegram": "Telegram",
    "Channel::Email": "e-mail",
}
_CLOSING = ("resolve_conversation", "snooze_conversation", "mute_conversation", "change_status", "pending_conversation")
_MAILING = ("send_email_transcript", "send_email_to_team")
_RULES = "Settings → Automation"


_ACCESS = {"credentials", "no_access", "account"}
_PUSH = {"no_secret", "no_webhook", "webhook_changed"}


def finding(severity: Literal["info", "warning", "error"], code: str, message: str, mend: str) -> HealthFinding:
    """One thing that is wrong."""
    concern: Literal["access", "push", "other"] = "access" if code in _ACCESS else "push" if code in _PUSH else "other"
    return HealthFinding(severity=severity, code=code, message=message, mend=mend, concern=concern)


class Preflight:
    """Reads only. Raises Retry when Chatwoot cannot be asked now."""

    def __init__(self, api: Api, door: str | None) -> None:
        self.api = api
        self.config = api.config
        self.door = door

    async def run(self, me: Mapping[str, Any], inbox: Mapping[str, Any] | None) -> list[HealthFinding]:
        """Every conflict, of the inbox first."""
        found = [*self._user(me)]
        if inbox is not None:
            found += [*self._inbox(inbox), *await self._bot(inbox), *await self._members(inbox)]
        found += self._channels(await self.inboxes())
        if not await self._administrator():
            text = (
                "the API user is no administrator: automation rules and webhooks are not seen, and may work against us"
            )
            return [*found, finding("warning", "rules_unseen", text, "make the API user an administrator")]
        found += [one for rule in await self._rules() for one in self._rule(rule, inbox)]
        return [*found, *await self._account(), *await self._labels()]

    async def inboxes(self) -> list[dict[str, Any]]:
        """Every inbox of the account that the API user sees."""
        return await self.api.listed("inboxes")

    async def webhooks(self) -> list[dict[str, Any]]:
        """The account's webhooks: listed within `payload.webhooks` by servers, plain in the API's document."""
        response = await self.api.send("GET", "webhooks")
        found = response.json()
        payload = found.get("payload") if isinstance(found, dict) else found
        return objects(payload.get("webhooks") if isinstance(payload, dict) else payload, "webhooks")

    async def _administrator(self) -> bool:
        """Whether the API user may look at what administrators may: Chatwoot answers 401 to everybody else."""
        try:
            await self.api.send("GET", "automation_rules")
        except (Reauthorise, Gone, Rejected) as error:
            if status_of(error) not in (401, 403, 404):
                raise
            return False
        return True

    async def _rules(self) -> list[dict[str, Any]]:
        payload = (await self.api.get("automation_rules")).get("payload")
        return objects(payload if isinstance(payload, list) else [payload], "automation rules")

    def _user(self, me: Mapping[str, Any]) -> Iterator[HealthFinding]:
        accounts = me.get("accounts")
        own = next(
            (one for one in accounts if isinstance(one, dict) and one.get("id") == self.config.account_id)
            if isinstance(accounts, list)
            else iter(()),
            None,
        )
        if isinstance(accounts, list) and own is None:
            text = f"the API user does not belong to account {self.config.account_id}"
            yield finding("error", "account", text, "correct account_id, or invite the user into that account")
        if own is not None and own.get("role") == "agent":
            text = (
                "the API user is an agent: whenever the gateway opens a conversation, Chatwoot assigns it to that user"
            )
            yield finding("warning", "api_user_agent", text, "Settings → Agents: make the API user an administrator")

    def _inbox(self, inbox: Mapping[str, Any]) -> Iterator[HealthFinding]:
        shown = f"inbox {words(inbox.get('name')) or inbox.get('id')}"
        where = f"Settings → Inboxes → {words(inbox.get('name')) or inbox.get('id')}"
        if inbox.get("channel_type") != "Channel::Api":
            text = f"the {shown} is no API channel: Chatwoot takes no customers' messages for it from outside"
            yield finding("error", "not_api", text, "give the id of an API channel as inbox_id, or none and install")
        if inbox.get("lock_to_single_conversation") is True:
            text = f"the {shown} keeps one conversation for each customer: separate matters would run into one another"
            yield finding("error", "single_conversation", text, f"{where}: switch off the single conversation")
        for name, code, what in (
            ("greeting_enabled", "greeting", "greets customers by itself"),
            ("csat_survey_enabled", "survey", "asks for a rating when a conversation is resolved"),
        ):
            if inbox.get(name) is True:
                text = f"the {shown} {what}; no customer gets that message, but agents see it as sent"
                yield finding("warning", code, text, f"{where}: switch it off")
        if inbox.get("working_hours_enabled") is True and words(inbox.get("out_of_office_message")):
            text = f"the {shown} answers outside business hours; no customer gets that, but agents see it as sent"
            yield finding("warning", "out_of_office", text, f"{where} → Business hours: empty the message")

    async def _bot(self, inbox: Mapping[str, Any]) -> list[HealthFinding]:
        try:
            response = await self.api.send("GET", f"inboxes/{inbox.get('id')}/agent_bot")
        except (Gone, Rejected, Reauthorise):
            return []
        answer = json_object(response) if response.content else {}
        bot = answer.get("agent_bot", answer)
        if not isinstance(bot, dict) or not bot.get("id"):
            return []
        text = f"the bot {words(bot.get('name')) or bot['id']} answers in our inbox, and keeps conversations pending"
        return [finding("warning", "agent_bot", text, "Settings → Inboxes → Bot configuration: disconnect it")]

    async def _members(self, inbox: Mapping[str, Any]) -> list[HealthFinding]:
        try:
            members = await self.api.listed(f"inbox_members/{inbox.get('id')}")
        except (Gone, Rejected, Reauthorise):
            return []
        if members:
            return []
        text = "our inbox has no collaborators: administrators alone see its conversations"
        return [finding("warning", "no_agents", text, "Settings → Inboxes → Collaborators: add the agents who answer")]

    def _channels(self, inboxes: Sequence[Mapping[str, Any]]) -> Iterator[HealthFinding]:
        for one in inboxes:
            native = NATIVE.get(str(one.get("channel_type")))
            if native is not None and one.get("id") != self.config.inbox_id:
                text = f"Chatwoot's own {native} channel is connected (inbox {words(one.get('name')) or one.get('id')})"
                mend = "disconnect it if the gateway serves the same account: every message would come twice"
                yield finding("info", "native_channel", text, mend)

    def _rule(self, rule: Mapping[str, Any], inbox: Mapping[str, Any] | None) -> Iterator[HealthFinding]:
        if rule.get("active") is False or not may_hold(rule, inbox):
            return
        shown = f"the automation rule {words(rule.get('name')) or rule.get('id')}"
        mend = f"{_RULES}: add the condition that the inbox is not ours"
        actions = rule.get("actions")
        for action in actions if isinstance(actions, list) else ():
            if not isinstance(action, dict):
                continue
            name, given = action.get("action_name"), action.get("action_params")
            params = [str(one) for one in given] if isinstance(given, list) else []
            if name in _MAILING:
                yield finding("warning", "rule_mails", f"{shown} sends e-mails about our conversations", mend)
            elif name in _CLOSING:
                text = f"{shown} changes the status of our conversations"
                yield finding("warning", "rule_closes", text, mend)
            elif name in ("send_message", "send_attachment"):
                text = f"{shown} writes into our conversations; the gateway does not publish that"
                yield finding("warning", "rule_writes", text, mend)
            elif name in ("add_label", "remove_label"):
                ours = {*map(label, self.config.labels), *SEEN_LABELS, *LEG_LABELS}.intersection(params)
                if ours:
                    text = f"{shown} touches the gateway's labels: {', '.join(sorted(ours))}"
                    yield finding("warning", "rule_tags", text, f"{_RULES}: use other labels there")
            elif name == "send_webhook_event" and self.door is not None and self.door in params:
                text = f"{shown} calls the gateway's door too, unsigned"
                yield finding("warning", "second_webhook", text, f"{_RULES}: take the action out")

    async def _account(self) -> list[HealthFinding]:
        base, _, account_id = self.config.api.rpartition("/")
        account = json_object(await self.api.send("GET", account_id, base=base))
        kept = account.get("settings")
        settings = kept if isinstance(kept, dict) else {}
        after = settings.get("auto_resolve_after") or account.get("auto_resolve_duration")
        if not after:
            return []
        text = "the account resolves conversations by itself after a while: the gateway takes them for solved"
        return [finding("warning", "auto_resolve", text, "Settings → Account → Auto-resolve: switch it off")]

    async def _labels(self) -> list[HealthFinding]:
        missing = [one for one in self.wanted_labels() if one not in await self.labels()]
        if not missing:
            return []
        text = f"labels that agents should see are not defined: {', '.join(missing)}"
        return [finding("warning", "labels_missing", text, "call the connection's install, which makes them")]

    async def labels(self) -> list[str]:
        """The titles of all labels."""
        return [str(one.get("title")) for one in await self.api.listed("labels")]

    def wanted_labels(self) -> list[str]:
        """Those that should be defined."""
        return list(dict.fromkeys((*map(label, self.config.labels), *SEEN_LABELS)))


def may_hold(rule: Mapping[str, Any], inbox: Mapping[str, Any] | None) -> bool:
    """Whether a rule can act on our conversations: a condition on another inbox, joined by AND, keeps it away."""
    id = number(inbox.get("id")) if inbox is not None else None
    conditions = rule.get("conditions")
    listed = [one for one in conditions if isinstance(one, dict)] if isinstance(conditions, list) else []
    if id is None or any(str(one.get("query_operator") or "").lower() == "or" for one in listed):
        return True
    for one in listed:
        if one.get("attribute_key") != "inbox_id":
            continue
        values = one.get("values")
        named = {number(value) for value in values} if isinstance(values, list) else set()
        if (one.get("filter_operator") == "equal_to" and id not in named) or (
            one.get("filter_operator") == "not_equal_to" and id in named
        ):
            return False
    return True


def as_steps(findings: Sequence[HealthFinding]) -> list[Step]:
    """Findings as what a person has to do."""
    return [Step(action="ask", what=one.message, detail=one.mend) for one in findings if one.severity != "info"]
