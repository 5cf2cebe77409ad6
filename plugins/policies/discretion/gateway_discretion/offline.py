"""`take_it_offline`: in public what helps everybody, in private what is this customer's alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field

from gateway_discretion.secrets import Kind, leaks
from gateway_schemas.decision import Case, Effect, Evidence, Finding, Note, Severity
from gateway_schemas.interaction import Interaction
from gateway_schemas.policy import Needs, Policy
from gateway_schemas.reading import Mark, Reading
from gateway_schemas.reply import Rendered

LOOK_BACK = 50
_KINDS: dict[Kind, str] = {
    "email": "an e-mail address",
    "reference": "a number or reference",
    "amount": "an amount",
    "name": "a name",
    "address": "an address",
}
_PRIVATELY = {
    "en": "Ask for it in private: “Please send it to us in a direct message.”",
    "es": "Pídalo en privado: «Envíenoslo por mensaje directo, por favor».",
    "fr": "Demandez-le en privé : « Envoyez-le-nous en message privé, s'il vous plaît. »",
    "de": "Fragen Sie privat danach: „Bitte schicken Sie sie uns als Direktnachricht.“",
    "pt": "Peça em privado: “Envie-nos por mensagem direta, por favor.”",
    "it": "Lo chieda in privato: «Ce lo mandi in un messaggio diretto, per favore».",
}
_OFFER = {
    "en": "Offer a private way: “Write to us in a direct message and I will stay with it.”",
    "es": "Ofrezca un canal privado: «Escríbanos por mensaje directo y me ocupo yo».",
    "fr": "Proposez un échange privé : « Écrivez-nous en message privé, je m'en occupe. »",
    "de": "Bieten Sie einen privaten Weg an: „Schreiben Sie uns eine Direktnachricht, ich bleibe dran.“",
    "pt": "Ofereça um canal privado: “Escreva-nos por mensagem direta e eu acompanho.”",
    "it": "Offra un canale privato: «Ci scriva in un messaggio diretto, me ne occupo io».",
}
_CLOSING = (
    "It is solved in private, and the public thread does not know. Suggested closing line: “We have sorted this out "
    "together in private. Thank you for your patience.”"
)


class OfflineParams(BaseModel):
    """How strict each part is, and when a private way is due."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    ask_severity: Severity = Field(
        default=Severity.hold, title="Severity of asking", description="Of asking for personal data in public."
    )
    leak_severity: Severity = Field(
        default=Severity.hold, title="Severity of telling", description="Of what is known only from private messages."
    )
    leak_kinds: tuple[Kind, ...] = Field(
        default=("email", "reference", "amount", "name", "address"),
        title="What may not be told",
        description="Kinds of things that stay private where they were only ever said in private.",
    )
    offer_severity: Severity = Field(
        default=Severity.warn,
        title="Severity without a private way",
        description="Where one is due.",
    )
    offer_after: int = Field(
        default=2,
        ge=1,
        title="Offer after",
        description="Public answers in one matter, after which the next one to a complaint offers a private way.",
    )
    regulated: bool = Field(
        default=False,
        title="Regulated",
        description="For banks, insurers and medicine: confirming in public that somebody is a customer or a patient "
        "is itself a breach.",
    )
    regulated_severity: Severity = Field(
        default=Severity.hold, title="Severity of confirming", description="Only where regulated."
    )
    closing_line: bool = Field(
        default=True,
        title="Closing line",
        description="Suggest one when a public matter is solved in private.",
    )
    look_back: int = Field(
        default=30, ge=1, le=LOOK_BACK, title="Look back", description="Earlier messages of the matter, both legs."
    )


class TakeItOffline(Policy[OfflineParams]):
    """Looks at what a public answer asks for, what it tells, and whether a private way is due."""

    type: ClassVar[str] = "take_it_offline"
    title: ClassVar[str] = "Take it offline"
    description: ClassVar[str] = (
        "Answer in public what needs no account data; offer a private way when it does. Never ask for personal data in "
        "public, and never tell in public what is known only from private messages: both are held. After a private fix "
        "a public closing line is suggested, for onlookers take note."
    )
    Params = OfflineParams
    needs: ClassVar[Needs] = Needs(timeline=LOOK_BACK, reader=True)

    @classmethod
    def needs_of(cls, params: OfflineParams) -> Needs:
        """As many messages as the parameters look back."""
        return Needs(timeline=params.look_back, reader=True)

    def review_reply(self, case: Case, rendered: Rendered) -> Iterable[Finding | Effect]:
        """Judge a public answer; a private one may say everything."""
        if rendered.visibility != "public":
            return
        reading = self.read_reply(case, rendered)
        yield from self._asks(reading)
        yield from self._tells(case, rendered)
        yield from self._confirms(reading)
        if not reading.has("asks_personal_data_publicly"):
            yield from self._offers(case, reading)

    def on_own_post(self, case: Case, post: Interaction) -> Iterable[Finding | Effect]:
        """What was posted elsewhere may ask or confirm too."""
        if post.visibility == "public":
            reading = self.read_message(case, post)
            yield from self._asks(reading)
            yield from self._confirms(reading)

    def on_interaction(self, case: Case, interaction: Interaction) -> Iterable[Effect]:
        """Suggest a public closing line when the customer says in private that it is solved."""
        if not self.params.closing_line or interaction.visibility != "private":
            return
        reading = self.read_message(case, interaction)
        if not reading.has("says_solved") or reading.has("says_unsolved"):
            return
        in_public = [entry for entry in case.timeline if entry.visibility == "public"]
        closed = in_public and in_public[-1].who == "agent" and case.timeline[-1] is in_public[-1]
        if any(entry.who == "customer" for entry in in_public) and not closed:
            yield Note(text=_CLOSING)

    def _asks(self, reading: Reading) -> Iterator[Finding]:
        if asked := reading.of("asks_personal_data_publicly"):
            yield Finding(
                severity=self.params.ask_severity,
                code="asks_personal_data_publicly",
                message="It asks for personal data where everybody reads the answer.",
                evidence=_here(*asked),
                suggestion=_in_words(_PRIVATELY, reading),
                coverage=reading.coverage,
            )

    def _tells(self, case: Case, rendered: Rendered) -> Iterator[Finding]:
        for leak in leaks(case, rendered.text):
            if leak.found.kind in self.params.leak_kinds:
                yield Finding(
                    severity=self.params.leak_severity,
                    code="private_in_public",
                    message=f"It tells in public {_KINDS[leak.found.kind]} that is known only from private messages.",
                    evidence=leak.evidence,
                    suggestion="Leave it out, or send this answer in private.",
                )

    def _confirms(self, reading: Reading) -> Iterator[Finding]:
        if self.params.regulated and (told := reading.of("x_confirms_customer")):
            yield Finding(
                severity=self.params.regulated_severity,
                code="confirms_customer",
                message="It confirms in public that this person is a customer or a patient.",
                evidence=_here(*told),
                suggestion="Say how you handle such matters in general, and give a way to reach you.",
                coverage=reading.coverage,
            )

    def _offers(self, case: Case, reading: Reading) -> Iterator[Finding]:
        message = case.interaction
        if message is None or message.visibility != "public" or reading.coverage == "none":
            return
        if reading.has("invites_private") or any(entry.visibility == "private" for entry in case.timeline):
            return
        said = self.read_message(case, message)
        if exposed := said.of("personal_data"):
            yield Finding(
                severity=self.params.offer_severity,
                code="no_private_way",
                message="The customer wrote personal data in public. Offer a private way, and suggest to delete it.",
                evidence=tuple(one.model_copy(update={"where": "interaction"}) for one in _here(*exposed)),
                suggestion=_in_words(_OFFER, reading),
                coverage=reading.coverage,
            )
            return
        readings = self.read_timeline(case)
        answers = [
            read
            for entry, read in zip(case.timeline, readings, strict=True)
            if entry.who == "agent" and entry.visibility == "public"
        ]
        if len(answers) < self.params.offer_after or any(read.has("invites_private") for read in answers):
            return
        if said.has("complains") or said.has("says_unsolved"):
            yield Finding(
                severity=self.params.offer_severity,
                code="no_private_way",
                message=f"After {len(answers)} public answers it is still not solved, and no private way was offered.",
                suggestion=_in_words(_OFFER, reading),
                coverage=reading.coverage,
            )


def _here(*marks: Mark) -> tuple[Evidence, ...]:
    return tuple(Evidence(start=mark.start, end=mark.end, text=mark.text) for mark in marks)


def _in_words(wordings: dict[str, str], reading: Reading) -> str:
    language = (reading.language or "en").replace("_", "-").split("-")[0].lower()
    return wordings.get(language, wordings["en"])
