"""Triggers and automations as the API gives them: what one does, and whether it may do it to a ticket of ours."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from gateway_zendesk.config import ZendeskConfig

API_VIA = "5"
"""The via id of Web service (API): how our tickets come to be (Via types reference)."""
_SOLVED = frozenset({"solved", "closed"})
_PEOPLE = frozenset({"requester_id", "requester_and_ccs", "all_ccs", "current_user_and_ccs"})
_TAG_ACTIONS = frozenset({"current_tags", "set_tags", "remove_tags"})


@dataclass(frozen=True)
class Rule:
    """One trigger or automation; `data` is as the API wrote it."""

    kind: Literal["trigger", "automation"]
    data: Mapping[str, Any]

    @property
    def id(self) -> object:
        """The rule's id."""
        return self.data.get("id")

    @property
    def active(self) -> bool:
        """Whether it is switched on."""
        return self.data.get("active") is not False

    @property
    def shown(self) -> str:
        """How an admin finds it."""
        return f"{self.kind} “{self.data.get('title')}” ({self.id})"

    def may_apply(self, config: ZendeskConfig) -> bool:
        """Whether its conditions can hold for one of our tickets: they have our tag, brand and channel, all else is
        open."""
        every, some = self._conditions("all"), self._conditions("any")
        return all(_verdict(one, config) is not False for one in every) and (
            not some or any(_verdict(one, config) is not False for one in some)
        )

    def mails(self) -> bool:
        """Whether it writes to the requester or those copied in."""
        return any(
            (name == "notification_user" and _first(value) in _PEOPLE) or name == "notification_sms_user"
            for name, value in self._actions()
        )

    def solves(self) -> bool:
        """Whether it solves or closes tickets."""
        return any(name == "status" and value in _SOLVED for name, value in self._actions())

    def tweets(self) -> bool:
        """Whether it answers on X by itself."""
        return any(name == "tweet_requester" for name, _ in self._actions())

    def surveys(self) -> bool:
        """Whether it asks for a satisfaction rating."""
        return any(name == "satisfaction_score" and value == "offered" for name, value in self._actions())

    def calls(self, webhooks: Iterable[str]) -> bool:
        """Whether it calls one of these webhooks."""
        known = set(webhooks)
        return any(name == "notification_webhook" and _first(value) in known for name, value in self._actions())

    def tags_touched(self, own: str) -> set[str]:
        """Tags that it adds or removes. `set_tags` replaces all: then our own is among those that go."""
        touched: set[str] = set()
        for name, value in self._actions():
            if name in _TAG_ACTIONS:
                touched |= _words(value)
            if name == "set_tags" and own not in _words(value):
                touched.add(own)
        return touched

    def tags_asked(self) -> set[str]:
        """Tags that its conditions look for."""
        asked = (*self._conditions("all"), *self._conditions("any"))
        return {tag for one in asked if one.get("field") == "current_tags" for tag in _words(one.get("value"))}

    def _conditions(self, side: str) -> list[Mapping[str, Any]]:
        conditions = self.data.get("conditions")
        found = conditions.get(side) if isinstance(conditions, dict) else None
        return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []

    def _actions(self) -> list[tuple[object, Any]]:
        found = self.data.get("actions")
        return (
            [(one.get("field"), one.get("value")) for one in found if isinstance(one, dict)]
            if isinstance(found, list)
            else []
        )


def _verdict(condition: Mapping[str, Any], config: ZendeskConfig) -> bool | None:
    """False where it cannot hold, True where it does, None where it depends on the ticket."""
    name, operator, value = condition.get("field"), condition.get("operator"), condition.get("value")
    if name == "current_tags":
        if config.tag not in _words(value):
            return None
        return bool(operator == "includes") if operator in ("includes", "not_includes") else None
    if name == "via_id":
        known: str | None = API_VIA
    elif name == "brand_id" and config.brand_id is not None:
        known = str(config.brand_id)
    else:
        return None
    if operator not in ("is", "is_not"):
        return None
    return bool(known == str(value)) == bool(operator == "is")


def _first(value: object) -> str:
    return str(value[0]) if isinstance(value, list) and value else str(value)


def _words(value: object) -> set[str]:
    items: Iterable[object] = value if isinstance(value, list) else str(value or "").replace(",", " ").split()
    return {str(one).strip().lower() for one in items}
