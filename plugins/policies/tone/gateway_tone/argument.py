"""`no_argument`: no quarrel in public, even when the customer is wrong."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import ClassVar

from pydantic import Field

from gateway_schemas.decision import Case, Effect, Finding, Severity
from gateway_schemas.interaction import Interaction
from gateway_schemas.policy import Needs, Policy
from gateway_schemas.reading import Mark, Reading
from gateway_schemas.reply import Rendered
from gateway_tone.shared import Params, evidence

_SAID: dict[str, tuple[str, str]] = {
    "insults": ("It insults or mocks the customer.", "Leave the person out, and say what can be done."),
    "threatens": (
        "It threatens the customer.",
        "If a step is unavoidable, have it decided, and tell them in private and in plain words.",
    ),
    "blames": ("It puts the fault on the customer.", "Say how to mend it; whose fault it was helps nobody who reads."),
    "argues": (
        "It disputes the customer's account in public.",
        "Correct a fact where others could be misled; offer to look into the rest.",
    ),
    "condescends_or_excuses": (
        "It lectures or belittles, or gives one reason after the other.",
        "One sentence on the cause is enough; then say what happens now.",
    ),
}


class ArgumentParams(Params):
    """How strict each part is."""

    insults: Severity = Field(default=Severity.hold, title="Insults", description="Slurs and mockery.")
    threatens: Severity = Field(default=Severity.hold, title="Threats", description="Legal steps, bans, other harm.")
    blames: Severity = Field(default=Severity.hold, title="Blame", description="The fault put on the customer.")
    argues: Severity = Field(default=Severity.warn, title="Dispute", description="Denying or doubting their account.")
    condescends_or_excuses: Severity = Field(
        default=Severity.warn, title="Condescension and excuses", description="Talking down, and lists of reasons."
    )
    doubtful: bool = Field(
        default=False,
        title="Doubtful ones too",
        description="Also what is an argument more likely than not: some of it are harmless answers.",
    )
    private: bool = Field(default=False, title="In private too", description="Judge private answers as strictly.")


class NoArgument(Policy[ArgumentParams]):
    """Onlookers judge the manner, so a public answer that quarrels is pointed out, and a hostile one is held."""

    type: ClassVar[str] = "no_argument"
    title: ClassVar[str] = "No argument"
    description: ClassVar[str] = (
        "No public dispute, blame, condescension or lecture of excuses, even when the customer is wrong. Insults, "
        "blame and threats are held. Correcting a fact, warning of fraud, refusing plainly and self-irony pass."
    )
    tone: ClassVar[bool] = True
    Params = ArgumentParams
    needs: ClassVar[Needs] = Needs(reader=True)

    def review_reply(self, case: Case, rendered: Rendered) -> Iterable[Finding | Effect]:
        """Judge a public answer; insults and threats in private too."""
        reading = self.read_reply(case, rendered)
        everything = rendered.visibility == "public" or self.params.private
        yield from self._judge(reading, tuple(_SAID) if everything else ("insults", "threatens"))

    def on_own_post(self, case: Case, post: Interaction) -> Iterable[Finding | Effect]:
        """The same for what was posted elsewhere."""
        yield from self._judge(self.read_message(case, post), tuple(_SAID))

    def _judge(self, reading: Reading, signals: tuple[str, ...]) -> Iterator[Finding]:
        seen: list[Mark] = []
        for signal in signals:
            told = [mark for mark in reading.of(signal) if mark.sure or self.params.doubtful]
            marks = [mark for mark in told if not any(_same(mark, other) for other in seen)]
            if not marks:
                continue
            seen += marks
            message, suggestion = _SAID[signal]
            yield Finding(
                severity=getattr(self.params, signal),
                code=signal,
                message=message,
                evidence=evidence(*marks),
                suggestion=suggestion,
                coverage=reading.coverage,
            )


def _same(mark: Mark, other: Mark) -> bool:
    """Whether two marks stand on the same words: blame is also an argument, and is told once, as blame."""
    return mark.start < other.end and other.start < mark.end
