"""`root_cause`: what went wrong has a name and an owner, and the owner hears when it happens again."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import ClassVar

from pydantic import Field

from gateway_intake.triage import Params
from gateway_schemas.decision import AddTags, Alarm, Case, Effect, Note, SetFields
from gateway_schemas.interaction import Interaction
from gateway_schemas.policy import Needs, Policy
from gateway_schemas.ticket import TicketChanged

PREFIX = "cause:"


class Cause(Params):
    """Something that goes wrong, and whose it is to mend."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$", title="Name", description="Shows as the tag cause:<name>.")
    owner: str = Field(min_length=1, title="Owner", description="A department or person; reports and alarms name them.")
    words: tuple[str, ...] = Field(default=(), title="Words", description="A complaint that has one of these.")


class RootCauseParams(Params):
    """The causes that are known."""

    causes: tuple[Cause, ...] = Field(default=(), title="Causes")
    repeats: int = Field(
        default=2,
        ge=2,
        title="Repeats",
        description="From which time on the owner hears of one customer's same trouble.",
    )


class RootCause(Policy[RootCauseParams]):
    """Names the cause where words tell it, or where an agent set it, and links repeats."""

    type: ClassVar[str] = "root_cause"
    title: ClassVar[str] = "Root cause"
    description: ClassVar[str] = (
        "If the problem was real, the department responsible hears of it, so that it does not happen again. "
        "Causes and owners are data; an agent names a cause with the tag cause:<name>; a repeat is linked and "
        "reported to the owner."
    )
    Params = RootCauseParams
    needs: ClassVar[Needs] = Needs(reader=True, customer=True)

    def on_interaction(self, case: Case, interaction: Interaction) -> Iterable[Effect]:
        """Suggest the cause that a complaint's words name, where none is named yet."""
        if case.ticket is not None and case.ticket.fields.get("cause"):
            return
        reading = self.read_message(case, interaction)
        if reading.coverage == "full" and not reading.has("complains") and not reading.has("sarcastic"):
            return
        text = interaction.text.casefold()
        for cause in self.params.causes:
            said = next((word for word in cause.words if _says(text, word.casefold())), None)
            if said is not None:
                yield from self._named(case, cause, f'they write "{said}"')
                return

    def on_ticket(self, case: Case, change: TicketChanged) -> Iterable[Effect]:
        """An agent's tag names the cause, whatever was suggested before."""
        before = case.ticket.fields.get("cause") if case.ticket else None
        tags = [tag.removeprefix(PREFIX) for tag in change.tags or () if tag.startswith(PREFIX)]
        chosen = [name for name in tags if name != before]
        known = {cause.name: cause for cause in self.params.causes}
        if chosen and chosen[-1] in known:
            yield from self._named(case, known[chosen[-1]], "an agent says so")
        elif chosen:
            yield SetFields(fields={"cause": chosen[-1]})

    def _named(self, case: Case, cause: Cause, why: str) -> Iterator[Effect]:
        yield SetFields(fields={"cause": cause.name, "cause_owner": cause.owner})
        yield AddTags(tags=(f"{PREFIX}{cause.name}",))
        times = 1 + sum(1 for name in (case.customer.causes if case.customer else ()) if name == cause.name)
        if times >= self.params.repeats:
            yield AddTags(tags=("repeat",))
            yield Note(text=f"It is time number {times} that this customer has {cause.name} ({why}).")
            message = f"{cause.name} happened to one customer for the {times}. time"
            yield Alarm(severity="info", code="repeated_cause", message=message, owner=cause.owner)


def _says(text: str, word: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text) is not None
