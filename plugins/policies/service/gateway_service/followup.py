"""`follow_up`: after solving, ask in private whether it is solved."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import ClassVar

from pydantic import Field

from gateway_schemas.decision import AddTags, AskCustomer, Case, Effect, Note, SetPriority
from gateway_schemas.interaction import Interaction
from gateway_schemas.policy import Needs, Policy
from gateway_schemas.ticket import TicketChanged
from gateway_service.targets import Settings

QUESTIONS = {
    "en": "Has it all been sorted out for you? If anything is still open, just answer here.",
    "es": "¿Ha quedado todo resuelto? Si queda algo pendiente, responda aquí mismo.",
    "fr": "Tout est-il réglé pour vous ? S'il reste quelque chose, répondez simplement ici.",
    "de": "Ist für Sie alles geklärt? Wenn noch etwas offen ist, antworten Sie einfach hier.",
    "pt": "Ficou tudo resolvido? Se ainda houver algo em aberto, responda por aqui.",
    "it": "È tutto risolto per lei? Se resta qualcosa in sospeso, risponda pure qui.",
}


class FollowUp(Settings):
    """When and how customers are asked."""

    after_hours: float = Field(default=24, ge=0, title="After", description="Hours since the ticket was solved.")
    questions: dict[str, str] = Field(
        default_factory=lambda: dict(QUESTIONS), title="Questions", description="By language; English is the fallback."
    )
    private_only: bool = Field(
        default=True,
        title="Only where a private conversation exists",
        description="Asking in private somebody who only wrote in public is not possible everywhere.",
    )


class Asked(Policy[FollowUp]):
    """Asks once a matter, and sees to it that a no is heard."""

    type: ClassVar[str] = "follow_up"
    title: ClassVar[str] = "Follow up"
    description: ClassVar[str] = (
        "A while after a ticket was solved, the customer is asked in the private leg whether it is. Off by "
        "default: many helpdesks do this themselves, and being asked twice annoys. A no reopens the ticket and "
        "marks it."
    )
    default_mode: ClassVar[str] = "off"
    Params = FollowUp
    needs: ClassVar[Needs] = Needs(timeline=50, reader=True)

    def on_ticket(self, case: Case, change: TicketChanged) -> Iterable[Effect]:
        """Ask after the ticket was solved, unless the last word was the customer's own that it is."""
        before = case.ticket.status if case.ticket else None
        if change.status != "solved" or before in ("solved", "closed") or not case.timeline:
            return
        readings = self.read_timeline(case)
        last = [index for index, entry in enumerate(case.timeline) if entry.who == "customer"]
        if not last or readings[last[-1]].has("says_solved"):
            return
        asked = set(self.params.questions.values())
        private = any(entry.visibility == "private" for entry in case.timeline)
        if any(entry.text in asked for entry in case.timeline) or (self.params.private_only and not private):
            return
        language = case.timeline[last[-1]].language or readings[last[-1]].language or "en"
        question = self.params.questions.get(language.split("-")[0]) or self.params.questions.get("en")
        if question is not None:
            yield AskCustomer(text=question, after=timedelta(hours=self.params.after_hours))

    def on_interaction(self, case: Case, interaction: Interaction) -> Iterable[Effect]:
        """A no to the question, or any word that it is not solved, is no new matter but an old one that went wrong."""
        solved = case.ticket is not None and case.ticket.status in ("solved", "closed")
        unsolved = self.read_message(case, interaction).of("says_unsolved")
        if solved and unsolved:
            yield AddTags(tags=("not_solved",))
            yield SetPriority(priority="high")
            yield Note(text=f'Was solved for us and not for the customer: "{unsolved[0].text}"')
