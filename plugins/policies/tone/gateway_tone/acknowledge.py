"""`acknowledge_first`: the first public answer recognises the problem, and an apology leads somewhere."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import ClassVar, Literal

from pydantic import Field

from gateway_schemas.decision import Case, Effect, Finding, Severity
from gateway_schemas.interaction import Interaction
from gateway_schemas.policy import Needs, Policy
from gateway_schemas.reading import Reading
from gateway_schemas.reply import Rendered
from gateway_tone.shared import TROUBLE, Params, evidence, five_stars, in_words

LOOK_BACK = 30
_OPENING = {
    "en": "Start with what happened to them: “You waited two hours, and that is too long.”",
    "es": "Empiece por lo que le pasó: «Ha esperado dos horas, y eso es demasiado».",
    "fr": "Commencez par ce qui lui est arrivé : « Vous avez attendu deux heures, c'est trop long. »",
    "de": "Beginnen Sie mit dem, was passiert ist: „Sie haben zwei Stunden gewartet, das ist zu lang.“",
    "pt": "Comece pelo que aconteceu: “Esperou duas horas, e isso é demais.”",
    "it": "Cominci da ciò che è successo: «Ha aspettato due ore, ed è troppo».",
}
_STEP = {
    "en": "Say what happens next, who does it and by when.",
    "es": "Diga qué pasará ahora, quién lo hará y para cuándo.",
    "fr": "Dites ce qui se passe ensuite, qui s'en charge et pour quand.",
    "de": "Sagen Sie, was als Nächstes geschieht, wer es tut und bis wann.",
    "pt": "Diga o que acontece a seguir, quem o faz e até quando.",
    "it": "Dica che cosa succede adesso, chi se ne occupa ed entro quando.",
}


class AcknowledgeParams(Params):
    """Whether an apology is wanted, who is to be acknowledged, and how strict each part is."""

    apology: Literal["expected", "optional", "forbidden"] = Field(
        default="optional",
        title="Apology",
        description="Of the first public answer. Where one is forbidden (regulated matters), it is pointed out.",
    )
    when: tuple[str, ...] = Field(
        default=TROUBLE,
        title="When",
        description="Signals of the customer's message, any of which asks to be acknowledged; with `complains` all do.",
    )
    stars_at_most: float = Field(
        default=2, ge=0, le=5, title="Stars at most", description="A review of so many stars of five asks for it too."
    )
    severity: Severity = Field(
        default=Severity.warn, title="Severity", description="Of a first answer that does not recognise the problem."
    )
    next_step_severity: Severity = Field(
        default=Severity.warn, title="Severity without a next step", description="Of an apology that leads nowhere."
    )
    again_severity: Severity = Field(
        default=Severity.warn, title="Severity of apologising again", description="Of a further apology in one matter."
    )
    apologies: int = Field(default=1, ge=1, title="Apologies", description="So many in one matter are enough.")
    liability_severity: Severity = Field(
        default=Severity.hold,
        title="Severity of admitting liability",
        description="In public and in private: it needs a person's decision.",
    )
    look_back: int = Field(
        default=10, ge=1, le=LOOK_BACK, title="Look back", description="Earlier messages of the matter, both legs."
    )


class AcknowledgeFirst(Policy[AcknowledgeParams]):
    """Reads what the customer said and what was answered before, and how this answer begins."""

    type: ClassVar[str] = "acknowledge_first"
    title: ClassVar[str] = "Acknowledge first"
    description: ClassVar[str] = (
        "The first public answer to a complaint recognises the problem. An apology without a next step, and a second "
        "apology in one matter, are pointed out, for customers see through both. An admission of liability waits for a "
        "person's decision."
    )
    tone: ClassVar[bool] = True
    Params = AcknowledgeParams
    needs: ClassVar[Needs] = Needs(timeline=LOOK_BACK, reader=True)

    @classmethod
    def needs_of(cls, params: AcknowledgeParams) -> Needs:
        """As many messages as the parameters look back."""
        return Needs(timeline=params.look_back, reader=True)

    def review_reply(self, case: Case, rendered: Rendered) -> Iterable[Finding | Effect]:
        """Judge a reply; in private only what is admitted."""
        reading = self.read_reply(case, rendered)
        yield from self._liability(reading)
        if rendered.visibility != "public":
            return
        answered = [entry.who == "agent" and entry.visibility == "public" for entry in case.timeline]
        if not any(answered):
            yield from self._first(case, reading)
        yield from self._apologies(case, reading)

    def on_own_post(self, case: Case, post: Interaction) -> Iterable[Finding | Effect]:
        """What was posted elsewhere may admit liability too."""
        yield from self._liability(self.read_message(case, post))

    def _liability(self, reading: Reading) -> Iterator[Finding]:
        if admitted := reading.of("admits_liability"):
            yield Finding(
                severity=self.params.liability_severity,
                code="admits_liability",
                message="It accepts liability or fault. That needs a person's decision.",
                evidence=evidence(*admitted),
                suggestion="Have it approved by whoever answers for it, or say what is being done instead.",
                coverage=reading.coverage,
            )

    def _first(self, case: Case, reading: Reading) -> Iterator[Finding]:
        message = case.interaction
        if message is None or reading.coverage == "none" or not self._troubled(case, message):
            return
        if not reading.has("acknowledges"):
            yield Finding(
                severity=self.params.severity,
                code="not_acknowledged",
                message="The first public answer does not say that it has understood what went wrong.",
                suggestion=in_words(_OPENING, reading),
                coverage=reading.coverage,
            )
        if self.params.apology == "expected" and not reading.has("apologises"):
            yield Finding(
                severity=self.params.severity,
                code="apology_missing",
                message="An apology is expected here.",
                coverage=reading.coverage,
            )

    def _troubled(self, case: Case, message: Interaction) -> bool:
        stars = five_stars(message)
        if stars is not None and stars <= self.params.stars_at_most:
            return True
        said = self.read_message(case, message)
        return any(said.has(signal) for signal in self.params.when)

    def _apologies(self, case: Case, reading: Reading) -> Iterator[Finding]:
        sorry = reading.of("apologises")
        if not sorry:
            return
        if self.params.apology == "forbidden":
            yield Finding(
                severity=self.params.severity,
                code="apology_forbidden",
                message="An apology is not wanted in this scope.",
                evidence=evidence(*sorry),
                coverage=reading.coverage,
            )
        if not (reading.has("next_step") or reading.has("invites_private") or reading.promises):
            yield Finding(
                severity=self.params.next_step_severity,
                code="apology_without_next_step",
                message="It apologises and does not say what happens next.",
                evidence=evidence(sorry[0]),
                suggestion=in_words(_STEP, reading),
                coverage=reading.coverage,
            )
        earlier = [
            read.has("apologises")
            for entry, read in zip(case.timeline, self.read_timeline(case), strict=True)
            if entry.who == "agent"
        ]
        if sum(earlier) >= self.params.apologies:
            yield Finding(
                severity=self.params.again_severity,
                code="apologises_again",
                message="It apologises again in the same matter. Say what has been done instead.",
                evidence=evidence(sorry[0]),
                coverage=reading.coverage,
            )
