"""What the sandbox's child does with policies: make them once, ask them, and read each text once for all of them."""

from __future__ import annotations

import contextlib
import typing
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from pydantic import AwareDatetime, BaseModel, ValidationError

from gateway.endpoints import EPOCH, ConfigInvalid, PluginMissing
from gateway.registry import Registry
from gateway_schemas.conditions import holds
from gateway_schemas.decision import Case, Effect, Finding
from gateway_schemas.interaction import Interaction
from gateway_schemas.policy import Policy
from gateway_schemas.reading import NOTHING_READ, Coverage, Reader, Reading
from gateway_schemas.reply import Rendered
from gateway_schemas.text import clean, clean_model

VALUES: tuple[type, ...] = (Finding, *typing.get_args(typing.get_args(Effect)[0]))
"""What a policy may answer with."""
INSTANCES_MOST = 512
READINGS_MOST = 4096
SPOKEN = ("review_reply", "on_own_post")
"""Points at which the brand speaks: what nobody can read there is said."""


@dataclass(frozen=True)
class Spec:
    """One policy as the child needs it. Equal keys mean equal instances."""

    key: str
    type: str
    params: dict[str, Any]
    when: str | None = None
    languages: tuple[str, ...] = ()
    reads: bool = False


READING = Spec("reading", "", {})
"""Stands among the specs for the reader itself: its answer is the reading of the subject."""


@dataclass(frozen=True)
class Ask:
    """One thing at one point, and which of the batch's specs are asked about it."""

    point: Any
    case: Case
    subject: Any
    specs: tuple[int, ...]


@dataclass(frozen=True)
class Said:
    """What one policy said of one thing: its values, or why there are none."""

    values: tuple[Finding | Effect | Reading, ...] = ()
    code: str = ""
    reason: str = ""
    asked: bool = True
    """False where the scope's language or condition did not cover it."""
    coverage: Coverage | None = None
    """For a policy that reads texts: how far the language of this one was understood."""

    @property
    def ok(self) -> bool:
        """Whether it went well."""
        return not self.code


class Polyglot(Reader):
    """The installed readers as one, remembering what it read: a text is read once however many policies ask."""

    name = "host"
    version = ""
    languages: ClassVar[dict[str, Coverage]] = {}

    def __init__(self, readers: Sequence[Reader]) -> None:
        self._readers = readers
        self._read: OrderedDict[Any, Reading] = OrderedDict()

    def read(
        self,
        text: str,
        *,
        speaker: Literal["brand", "customer"],
        at: AwareDatetime,
        language: str | None = None,
        visibility: Literal["public", "private"] = "public",
        timezone: str = "UTC",
    ) -> Reading:
        """The reading by the reader that knows the language best."""
        key = (text, speaker, at, language, visibility, timezone)
        found = self._read.get(key)
        if found is None:
            found = self._best(text, speaker, at, language, visibility, timezone)
            self._read[key] = found
            if len(self._read) > READINGS_MOST:
                self._read.popitem(last=False)
        return found

    def _best(self, text: str, speaker: Any, at: Any, language: str | None, visibility: Any, timezone: str) -> Reading:
        best = NOTHING_READ
        for reader in self._readers:
            found = reader.read(
                text, speaker=speaker, at=at, language=language, visibility=visibility, timezone=timezone
            )
            if found.coverage == "full":
                return found
            if best.coverage == "none" and (found.coverage != "none" or found.language is not None):
                best = found
        return best


@dataclass
class Bench:
    """The policies of one child."""

    registry: Registry
    reader: Polyglot
    _made: dict[str, Policy[Any]] = field(default_factory=dict)

    @classmethod
    def of(cls, registry: Registry) -> Bench:
        """With one reader for all policies."""
        return cls(registry, Polyglot([reader() for _, reader in sorted(registry.readers.items())]))

    def warm(self) -> None:
        """Called once in a new child: have readers load their languages, which takes longer than any text may take."""
        languages = sorted({one for reader in self.registry.readers.values() for one in reader.languages})
        with contextlib.suppress(Exception):  # it breaks again, and is recorded, with the first text that is read
            for language in (*languages, None):
                self.reader.read("Hello.", speaker="brand", at=EPOCH, language=language)

    def judge(self, ask: Ask, specs: Sequence[Spec], guarded: Callable[[Callable[[], Said]], Said]) -> list[Said]:
        """Ask each policy about one thing. `guarded` turns what one of them raises into its outcome."""
        return [guarded(lambda spec=specs[number]: self._one(spec, ask)) for number in ask.specs]  # type: ignore[misc]

    def _one(self, spec: Spec, ask: Ask) -> Said:
        if spec == READING:
            return Said((self._reading(ask) or NOTHING_READ,))
        if spec.languages and not self._speaks(spec.languages, ask):
            return Said(asked=False)
        if spec.when is not None and not holds(spec.when, ask.point, ask.case, ask.subject):
            return Said(asked=False)
        policy = self._policy(spec)
        values = tuple(clean_model(value) for value in getattr(policy, ask.point)(ask.case, ask.subject))
        wrong = [type(value).__name__ for value in values if not isinstance(value, VALUES)]
        if wrong:
            return Said(code="plugin_bug", reason=f"gave a {clean(wrong[0])}, which is neither a finding nor an effect")
        reading = self._reading(ask) if spec.reads and ask.point in SPOKEN else None
        return Said(values, coverage=reading.coverage if reading is not None else None)

    def _policy(self, spec: Spec) -> Policy[Any]:
        made = self._made.get(spec.key)
        if made is None:
            plugin = self.registry.policies.get(spec.type)
            if plugin is None:
                raise PluginMissing(f"policy type {spec.type!r} is not installed or is broken")
            if len(self._made) >= INSTANCES_MOST:
                self._made.clear()
            made = self._made[spec.key] = plugin(_params(plugin, spec), self.reader)
        return made

    def _reading(self, ask: Ask) -> Reading | None:
        subject, case = ask.subject, ask.case
        if isinstance(subject, Rendered):
            return self.reader.read(
                subject.text,
                speaker="brand",
                at=case.now,
                language=case.interaction.language if case.interaction else None,
                visibility=subject.visibility,
                timezone=case.timezone,
            )
        if isinstance(subject, Interaction):
            return self.reader.read(
                subject.text,
                speaker="customer" if subject.direction == "inbound" else "brand",
                at=subject.published_at,
                language=subject.language,
                visibility=subject.visibility,
                timezone=case.timezone,
            )
        return None

    def _speaks(self, languages: Sequence[str], ask: Ask) -> bool:
        """Whether the text is in one of the languages, or nobody can tell."""
        heard = ask.subject if isinstance(ask.subject, Interaction) else ask.case.interaction
        language = heard.language if heard is not None else None
        if language is None:
            reading = self._reading(ask)
            language = reading.language if reading is not None else None
        return language is None or _primary(language) in {_primary(one) for one in languages}


def _params(plugin: type[Policy[Any]], spec: Spec) -> BaseModel:
    try:
        return plugin.Params.model_validate(spec.params)
    except ValidationError as error:
        fields = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
        raise ConfigInvalid(f"{spec.type}: its parameters are not valid any more: {fields}") from error


def _primary(language: str) -> str:
    return language.partition("-")[0].casefold()
