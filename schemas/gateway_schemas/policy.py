"""The class a policy plugin subclasses: the company's rules, as pure functions of a stored case."""

from __future__ import annotations

import builtins
from abc import ABC
from collections.abc import Iterable
from typing import ClassVar, Generic, TypeVar

from pydantic import BaseModel

from gateway_schemas.base import Model
from gateway_schemas.decision import Case, Effect, Finding
from gateway_schemas.interaction import Interaction
from gateway_schemas.plugin import CONTRACT
from gateway_schemas.reply import Rendered
from gateway_schemas.ticket import TicketChanged

P = TypeVar("P", bound=BaseModel)


class Needs(Model):
    """What of a case a policy reads; the host loads no more."""

    timeline: int = 0
    """How many earlier messages of the matter, newest first."""
    facts: tuple[str, ...] = ()


class Policy(ABC, Generic[P]):
    """One rule with its parameters. All it may know is in the case; it runs in a process that can be killed."""

    type: ClassVar[str]
    version: ClassVar[str] = "1"
    """Changes when the code decides differently; every decision names it."""
    contract: ClassVar[int] = CONTRACT
    title: ClassVar[str] = ""
    Params: ClassVar[builtins.type[BaseModel]]
    needs: ClassVar[Needs] = Needs()

    def __init__(self, params: P) -> None:
        self.params = params

    def on_interaction(self, case: Case, interaction: Interaction) -> Iterable[Effect]:
        """Called for each inbound interaction and each of its edits."""
        return ()

    def review_reply(self, case: Case, rendered: Rendered) -> Iterable[Finding]:
        """Called for each reply, on exactly what would be sent; also again right before sending."""
        return ()

    def on_own_post(self, case: Case, post: Interaction) -> Iterable[Finding]:
        """Called for the brand's own posts that did not come through the gateway."""
        return ()

    def on_ticket(self, case: Case, change: TicketChanged) -> Iterable[Effect]:
        """Called when a person changed the ticket at the helpdesk."""
        return ()
