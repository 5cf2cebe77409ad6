"""Triggers and schedulers as the API gives them: what one does, and whether it may do it to a ticket of ours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from gateway_zammad.config import ZammadConfig

_MAILS = ("notification.email", "notification.sms")
_CUSTOMERS = frozenset({"ticket_customer", "article_last_sender", "article_last_from", "ticket_cc"})
_IS_NOT = frozenset({"is not", "contains one not", "contains all not"})


@dataclass(frozen=True)
class Rule:
    """One trigger or scheduler (`job`); `data` is as the API wrote it."""

    kind: Literal["trigger", "scheduler"]
    data: Mapping[str, Any]

    @property
    def id(self) -> object:
        """Its id."""
        return self.data.get("id")

    @property
    def active(self) -> bool:
        """Whether it is switched on."""
        return self.data.get("active") is not False

    @property
    def shown(self) -> str:
        """How an admin finds it."""
        return f"{self.kind} “{self.data.get('name')}” ({self.id})"

    @property
    def perform(self) -> Mapping[str, Any]:
        """What it does."""
        found = self.data.get("perform")
        return found if isinstance(found, dict) else {}

    def may_apply(self, config: ZammadConfig) -> bool:
        """Whether its conditions can hold for one of our tickets.

        Those have our tag, and articles of the types that we write; whatever else it asks for is left open, and so is
        what conditions nested in each other ask for.
        """
        conditions = self.data.get("condition")
        if not isinstance(conditions, dict) or "conditions" in conditions:
            return True
        for name, asked in conditions.items():
            if not isinstance(asked, dict):
                continue
            value, operator = asked.get("value"), asked.get("operator")
            words = {part.strip().lower() for one in _list(value) for part in str(one).split(",")}
            tagged = config.tag.lower() in words
            if name == "ticket.tags" and operator in _IS_NOT and tagged:
                return False
        return True

    def mails(self) -> bool:
        """Whether it writes to customers by e-mail or SMS."""
        for name in _MAILS:
            told = self.perform.get(name)
            if isinstance(told, dict) and {str(one) for one in _list(told.get("recipient"))} & _CUSTOMERS:
                return True
        return False

    def closes(self, closed: set[str]) -> bool:
        """Whether it sets tickets to one of these states, by number."""
        told = self.perform.get("ticket.state_id")
        return isinstance(told, dict) and bool({str(one) for one in _list(told.get("value"))} & closed)

    def deletes(self) -> bool:
        """Whether it deletes tickets."""
        told = self.perform.get("ticket.action")
        return isinstance(told, dict) and told.get("value") == "delete"

    def writes(self) -> bool:
        """Whether it writes public articles."""
        told = self.perform.get("article.note")
        return isinstance(told, dict) and str(told.get("internal")).lower() == "false"

    def tags_touched(self) -> set[str]:
        """Tags that it adds or removes."""
        told = self.perform.get("ticket.tags")
        value = told.get("value") if isinstance(told, dict) else None
        return {tag.strip().lower() for one in _list(value) for tag in str(one).split(",")}

    def calls(self, webhook: int | None) -> bool:
        """Whether it calls that webhook."""
        told = self.perform.get("notification.webhook")
        return webhook is not None and isinstance(told, dict) and str(told.get("webhook_id")) == str(webhook)


def _list(value: object) -> list[object]:
    return list(value) if isinstance(value, list) else [] if value is None else [value]
