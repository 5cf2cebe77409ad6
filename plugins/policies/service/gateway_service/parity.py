"""`channel_parity`: who asks in private is served no later than who goes public."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from pydantic import Field

from gateway_schemas.decision import AddTags, Case, Effect, Note, SetFields
from gateway_schemas.interaction import Interaction
from gateway_schemas.policy import Needs, Policy
from gateway_service.targets import Settings


class ChannelParity(Settings):
    """What is noted of people who had to go public."""

    note: bool = Field(default=True, title="Note", description="Whether the ticket gets a note that says so.")


class Parity(Policy[ChannelParity]):
    """Marks who went public after a private contact was not answered. The parity report counts them."""

    type: ClassVar[str] = "channel_parity"
    title: ClassVar[str] = "Channels on a par"
    description: ClassVar[str] = (
        "A company that answers public complaints at once and private ones never teaches its customers to "
        "complain in public. A public message by somebody whose private one is unanswered, or who says that they "
        "wrote before, is tagged forced_public; the report compares how fast each channel is served."
    )
    Params = ChannelParity
    needs: ClassVar[Needs] = Needs(reader=True, customer=True)

    def on_interaction(self, case: Case, interaction: Interaction) -> Iterable[Effect]:
        """Mark a public message that a private one should have made unnecessary."""
        if interaction.visibility != "public":
            return
        waiting = case.customer.private_unanswered if case.customer else 0
        said = self.read_message(case, interaction).of("mentions_private_contact")
        if not waiting and not said:
            return
        yield AddTags(tags=("forced_public",))
        yield SetFields(fields={"forced_public": True})
        if self.params.note:
            messages = "a private message" if waiting == 1 else f"{waiting} private messages"
            why = f"{messages} of this customer had no answer" if waiting else f'they say: "{said[0].text}"'
            yield Note(text=f"Went public after a private contact: {why}.")
