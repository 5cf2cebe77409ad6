"""Automation rules as the API gives them: what one does, and whether it may do it to a ticket of ours."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from gateway_freshdesk.config import FreshdeskConfig
from gateway_freshdesk.words import CLOSED, RESOLVED, number

CREATION, HOURLY, UPDATES = 1, 3, 4
KINDS = {
    CREATION: "rule on ticket creation",
    HOURLY: "hourly rule",
    UPDATES: "rule on ticket updates",
}
"""Types of automations. Older accounts call them Dispatch'r, Supervisor and Observer."""

_MAILS = frozenset({"send_email_to_requester", "forward_ticket", "add_a_cc"})
_TRASHES = frozenset({"delete_ticket", "mark_as_spam"})
_WRITES = frozenset({"add_note", "add_comment", "add_reply", "send_reply"})
_TAGS = frozenset({"add_tag", "remove_tag", "tag_names"})
_IS, _IS_NOT = frozenset({"in", "is"}), frozenset({"not_in", "is_not"})


@dataclass(frozen=True)
class Rule:
    """One rule; `data` is as the API wrote it."""

    type: int
    data: Mapping[str, Any]

    @property
    def id(self) -> int | None:
        """The rule's id."""
        return number(self.data.get("id"))

    @property
    def active(self) -> bool:
        """Whether it is switched on."""
        return self.data.get("active") is not False

    @property
    def shown(self) -> str:
        """How an admin finds it."""
        return f"{KINDS[self.type]} “{self.data.get('name')}” ({self.id})"

    @property
    def actions(self) -> list[Mapping[str, Any]]:
        """What it does, one after the other."""
        found = self.data.get("actions")
        return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []

    def may_apply(self, config: FreshdeskConfig) -> bool:
        """Whether its conditions can hold for one of our tickets: they have our tag and source, all else is open."""
        sets = self.data.get("conditions")
        verdicts = [_possible(one, config) for one in sets if isinstance(one, dict)] if isinstance(sets, list) else []
        if not verdicts:
            return True
        return all(verdicts) if " and " in str(self.data.get("operator", "")).lower() else any(verdicts)

    def mails(self) -> bool:
        """Whether it writes to the requester or to others by e-mail."""
        return any(one.get("field_name") in _MAILS for one in self.actions)

    def closes(self) -> bool:
        """Whether it sets tickets to resolved or closed."""
        return any(
            one.get("field_name") == "status" and number(one.get("value")) in (RESOLVED, CLOSED) for one in self.actions
        )

    def trashes(self) -> bool:
        """Whether it deletes tickets or marks them as spam."""
        return any(one.get("field_name") in _TRASHES for one in self.actions)

    def writes(self) -> bool:
        """Whether it writes notes or replies."""
        return any(one.get("field_name") in _WRITES and one.get("private") is not True for one in self.actions)

    def calls(self, url: str) -> bool:
        """Whether it calls that URL."""
        return any(one.get("field_name") == "trigger_webhook" and one.get("url") == url for one in self.actions)

    def tags_touched(self) -> set[str]:
        """Tags that it adds or removes."""
        return {tag for one in self.actions if one.get("field_name") in _TAGS for tag in _words(one.get("value"))}

    def tags_asked(self) -> set[str]:
        """Tags that its conditions or events look for."""
        sets = self.data.get("conditions")
        asked = (
            [one for group in sets if isinstance(group, dict) for one in _properties(group)]
            if isinstance(sets, list)
            else []
        )
        return {tag for one in asked if one.get("field_name") in _TAGS for tag in _words(one.get("value"))}


def _possible(group: Mapping[str, Any], config: FreshdeskConfig) -> bool:
    verdicts = [_verdict(one, config) for one in _properties(group)]
    if str(group.get("match_type", "all")).lower() == "any":
        return not verdicts or any(one is not False for one in verdicts)
    return all(one is not False for one in verdicts)


def _verdict(asked: Mapping[str, Any], config: FreshdeskConfig) -> bool | None:
    """False where it cannot hold, True where it does, None where it depends on the ticket."""
    name, operator, words = asked.get("field_name"), asked.get("operator"), _words(asked.get("value"))
    if operator not in _IS | _IS_NOT or asked.get("resource_type", "ticket") != "ticket":
        return None
    if name == "source":
        return (str(config.source) in words) == (operator in _IS)
    if name in _TAGS and config.tag.lower() in words:
        return operator in _IS
    return None


def _properties(group: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    found = group.get("properties")
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def _words(value: object) -> set[str]:
    items: Iterable[object] = value if isinstance(value, list) else str(value).split(",") if value is not None else ()
    return {str(one).strip().lower() for one in items}


def contains(present: Any, wanted: Any) -> bool:
    """Whether what is there has all that is wanted. Freshdesk may add to it, turn numbers to text and hide secrets."""
    if isinstance(wanted, dict):
        return isinstance(present, dict) and all(contains(present.get(name), value) for name, value in wanted.items())
    if isinstance(wanted, list):
        return (
            isinstance(present, list)
            and len(present) == len(wanted)
            and all(contains(*pair) for pair in zip(present, wanted, strict=True))
        )
    if isinstance(wanted, bool):
        return present is wanted
    shown = str(present)
    return shown == str(wanted) or (len(shown) > 2 and not shown.strip("*•"))
