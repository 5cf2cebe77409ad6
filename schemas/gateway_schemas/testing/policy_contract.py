"""The conformance kit for policies. An author's whole test file:

    class TestCurfew(PolicyContract):
        plugin = Curfew
        fixtures = Path(__file__).parents[1] / "fixtures" / "curfew"

`policy_recordings` says what is in the folder; `docs/kit/policy.md` lists the faults that the checks look for.
"""

from __future__ import annotations

import difflib
import json
import os
import re
import time
from datetime import datetime, timedelta
from typing import Any, ClassVar

import pytest
from pydantic import TypeAdapter, ValidationError

from gateway_schemas.decision import Case, Effect, Finding, Severity
from gateway_schemas.policy import Needs, Policy
from gateway_schemas.reading import NOTHING_READ, Coverage, Reader, Reading
from gateway_schemas.testing.failure import found, unless
from gateway_schemas.testing.fixtures import golden_text, golden_value
from gateway_schemas.testing.policies import NOON, ToldReader
from gateway_schemas.testing.policy_recordings import POINTS, PolicyRecordings, case_of, decided, subject_of

_TEN_YEARS = timedelta(days=28 * 131)
"""A whole number of weeks, so that no calendar's hours move."""
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)")
_ODD = ("", " ", "\x00", "👩‍👩‍👧", "\u202e", "ا", "ß" * 3, "\n\n", "100%{x}", "<b>", "\\", "$&", "🤷🏽‍♀️ é e\u0301")
_PATIENCE = 2.0


class PolicyContract:
    """Everything that the host relies on in a policy."""

    plugin: ClassVar[type[Policy[Any]]]
    """The policy's class."""
    fixtures: ClassVar[str | os.PathLike[str]]
    """The fixtures folder of this policy type."""

    @property
    def recordings(self) -> PolicyRecordings:
        """The policy's recorded cases."""
        return PolicyRecordings(self.fixtures, self.plugin)

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Checks that take a `recording` run once for each recorded case."""
        if "recording" in metafunc.fixturenames:
            metafunc.parametrize("recording", list(self.recordings.files))

    # recorded cases

    def test_golden_differs(self, recording: str) -> None:
        """Each recorded case is decided as its golden says."""
        recordings = self.recordings
        path = recordings.golden(recording)
        unless(path.exists(), "fixture_incomplete", f"{path.name} does not exist")
        actual = golden_text(golden_value(recordings.says(recording)))
        expected = golden_text(json.loads(path.read_text("utf-8")))
        if actual != expected:
            lines = difflib.unified_diff(
                expected.splitlines(), actual.splitlines(), path.name, "what the policy gives", lineterm=""
            )
            found("golden_differs", "\n".join([recording, *lines]))

    def test_fixture_incomplete(self) -> None:
        """Cases and goldens belong together."""
        recordings = self.recordings
        unless(recordings.files, "fixture_incomplete", f"there are no cases in {recordings.folder / 'in'}")
        unless(not recordings.orphans, "fixture_incomplete", f"goldens without a case: {recordings.orphans}")

    def test_point_not_recorded(self) -> None:
        """Each point at which the class decides has a case, and a case in which it says something."""
        recordings = self.recordings
        for point in POINTS:
            if getattr(self.plugin, point) is getattr(Policy, point):
                continue
            names = [name for name in recordings.files if name.startswith(f"{point}__")]
            unless(names, "point_not_recorded", f"no case in {recordings.folder} begins with {point}__")
            speaks = any(recordings.says(name) for name in names)
            unless(speaks, "point_not_recorded", f"in no recorded case does it say anything at {point}")

    def test_decides_differently_again(self, recording: str) -> None:
        """Twice by one instance, once by another, and after other cases: the same."""
        recordings = self.recordings
        policy, first = recordings.policy(recording), golden_value(recordings.says(recording))
        about, subject = recordings.case(recording), recordings.subject(recording)
        for other in recordings.files:
            if other.partition("__")[0] == recording.partition("__")[0]:
                decided(policy, other, recordings.case(other), recordings.subject(other))
        for _ in range(2):
            again = golden_value(decided(policy, recording, about, subject))
            unless(again == first, "decides_differently_again", f"{recording}:\n{first}\nand then\n{again}")

    def test_case_changed(self, recording: str) -> None:
        """The case and the subject stay as they were."""
        recordings = self.recordings
        about, subject = recordings.case(recording), recordings.subject(recording)
        before = about.model_dump_json(), subject.model_dump_json()
        decided(recordings.policy(recording), recording, about, subject)
        after = about.model_dump_json(), subject.model_dump_json()
        unless(before == after, "case_changed", f"{recording}: the case is another one afterwards")

    def test_clock_read(self, recording: str) -> None:
        """Ten years later, with every time moved, the same is decided ten years later."""
        recordings = self.recordings
        record = recordings.recorded(recording)
        point = recording.partition("__")[0]
        about, subject = case_of(record), subject_of(point, record)
        first = golden_text(golden_value(decided(recordings.policy(recording), recording, about, subject)))
        moved_case = Case.model_validate_json(_moved(about.model_dump_json(), _TEN_YEARS))
        moved_subject = type(subject).model_validate_json(_moved(subject.model_dump_json(), _TEN_YEARS))
        policy = recordings.policy(recording)
        reader = _Another(policy.reader, moved=_TEN_YEARS) if policy.reader is not None else None
        moved_policy = self.plugin(policy.params, reader)
        later = golden_text(golden_value(decided(moved_policy, recording, moved_case, moved_subject)))
        unless(
            _without_dates(_moved(later, -_TEN_YEARS)) == _without_dates(_moved(first, timedelta())),
            "clock_read",
            f"{recording}: now it decides\n{first}\nand ten years later\n{later}",
        )

    def test_needs_not_declared(self, recording: str) -> None:
        """Without what it does not declare, the same is decided."""
        recordings = self.recordings
        policy, about = recordings.policy(recording), recordings.case(recording)
        needs = self.plugin.needs_of(policy.params)
        reduced = self.plugin(policy.params, policy.reader if needs.reader else None)
        subject = recordings.subject(recording)
        one = golden_value(decided(policy, recording, about, subject))
        other = golden_value(decided(reduced, recording, _only(about, needs), subject))
        unless(one == other, "needs_not_declared", f"{recording}: with all\n{one}\nwith what it needs\n{other}")

    # any case

    def test_bare_case_fails(self) -> None:
        """Every point, with nothing known."""
        for policy in (self.recordings.policy(), self.plugin(self.recordings.policy().params)):
            for point in POINTS:
                self._decides(policy, point, {}, "bare_case_fails", "a case with nothing in it")

    def test_odd_text_fails(self) -> None:
        """Every point that reads a text, with odd ones."""
        policy = self.recordings.policy()
        for text in _ODD:
            for point in ("on_interaction", "review_reply", "on_own_post"):
                timeline = [{"at": NOON, "who": "customer", "visibility": "public", "text": text}]
                record = {"subject": {"text": text}, "case": {"timeline": timeline}}
                self._decides(policy, point, record, "odd_text_fails", f"the text {text!r}")

    def test_long_text_slow(self) -> None:
        """Texts of a hundred thousand characters."""
        policy = self.recordings.policy()
        for piece in ("a", "a ", "sorry ", "we will ", "10 % ", "( "):
            for point in ("on_interaction", "review_reply", "on_own_post"):
                begun = time.process_time()
                record = {"subject": {"text": (piece * 100_000)[:100_000]}}
                self._decides(policy, point, record, "odd_text_fails", f"a long text of {piece!r}")
                took = time.process_time() - begun
                unless(
                    took < _PATIENCE, "long_text_slow", f"{point}: 100,000 characters of {piece!r} took {took:.1f} s"
                )

    # what it says

    def test_evidence_misplaced(self, recording: str) -> None:
        """Evidence is where it says."""
        recordings = self.recordings
        about, subject = recordings.case(recording), recordings.subject(recording)
        for finding in recordings.says(recording):
            for one in finding.evidence if isinstance(finding, Finding) else ():
                match one.where:
                    case "reply":
                        text = getattr(subject, "text", "")
                    case "interaction":
                        text = about.interaction.text if about.interaction is not None else ""
                    case _:
                        entries = about.timeline
                        unless(
                            one.index is not None and 0 <= one.index < len(entries),
                            "evidence_misplaced",
                            f"{recording}: evidence in an earlier message names no entry of the timeline: {one.index}",
                        )
                        text = entries[one.index or 0].text
                there = text[one.start : one.end]
                unless(
                    there == one.text, "evidence_misplaced", f"{recording}: {one.text!r} is named, there is {there!r}"
                )

    def test_finding_unexplained(self, recording: str) -> None:
        """Findings say why, and what to do."""
        for finding in self.recordings.says(recording):
            if isinstance(finding, Finding):
                unless(finding.message.strip(), "finding_unexplained", f"{recording}: {finding.code} has no message")
                unless(
                    re.fullmatch(r"[a-z][a-z0-9_]*", finding.code), "finding_unexplained", f"the code {finding.code!r}"
                )
                strict = finding.severity.rank >= Severity.hold.rank and not self.plugin.many
                unless(
                    not strict or (finding.suggestion or "").strip(),
                    "finding_unexplained",
                    f"{recording}: {finding.code} holds the reply and suggests nothing",
                )

    def test_coverage_claimed(self, recording: str) -> None:
        """Where the language is not known, nothing is said to be known."""
        recordings = self.recordings
        if recordings.policy(recording).reader is None:
            return
        about, subject = recordings.case(recording), recordings.subject(recording)
        policy = recordings.policy(recording)
        assert policy.reader is not None
        seen = decided(self.plugin(policy.params, _Blind()), recording, about, subject)
        without_reading = {one.code for one in seen if isinstance(one, Finding)}
        partly = self.plugin(policy.params, _Another(policy.reader, coverage="partial"))
        for finding in decided(partly, recording, about, subject):
            if isinstance(finding, Finding) and finding.code not in without_reading:
                honest = finding.coverage != "full"
                unless(honest, "coverage_claimed", f"{recording}: {finding.code} rests on half a reading")

    def test_decision_not_storable(self, recording: str) -> None:
        """Findings and effects go through JSON and back."""
        kinds: TypeAdapter[Any] = TypeAdapter(Finding | Effect)
        for one in self.recordings.says(recording):
            try:
                back = kinds.validate_json(one.model_dump_json())
            except (ValidationError, AttributeError, ValueError) as error:
                found("decision_not_storable", f"{recording}: {type(one).__name__}: {error}")
            unless(back == one, "decision_not_storable", f"{recording}: stored and read back it is {back}")

    # parameters and description

    def test_params_undocumented(self) -> None:
        """Every parameter says what it does and has a default."""
        model = self.plugin.Params
        for name, field in model.model_fields.items():
            unless(field.description or field.title, "params_undocumented", f"{model.__name__}.{name} says nothing")
        if not self.plugin.many:
            try:
                model()
            except ValidationError as error:
                found("params_undocumented", f"{model.__name__} cannot be made without arguments: {error}")

    def test_params_unchecked(self) -> None:
        """A parameter that is not there is refused."""
        params = self.recordings.policy().params.model_dump()
        try:
            self.plugin.Params.model_validate({**params, "kit_no_such_parameter": 1})
        except ValidationError:
            return
        found("params_unchecked", f"{self.plugin.Params.__name__} takes kit_no_such_parameter")

    def test_policy_undescribed(self) -> None:
        """Type, title, description, version and default mode."""
        policy = self.plugin
        unless(re.fullmatch(r"[a-z][a-z0-9_]*", policy.type), "policy_undescribed", f"the type is {policy.type!r}")
        for name in ("title", "description", "version"):
            unless(getattr(policy, name).strip(), "policy_undescribed", f"{policy.__name__}.{name} is empty")
        unless(
            policy.default_mode in ("on", "shadow", "off"), "policy_undescribed", f"default_mode {policy.default_mode}"
        )
        unless((policy.__doc__ or "").strip(), "policy_undescribed", f"{policy.__name__} has no docstring")

    def _decides(self, policy: Policy[Any], point: str, record: dict[str, Any], fault: str, what: str) -> None:
        try:
            decided(policy, point, case_of(record), subject_of(point, record))
        except Exception as error:
            found(fault, f"{point}, {what}: {type(error).__name__}: {error!s:.200}")


class _Another(Reader):
    """A reader that reads as another one does, with one thing changed."""

    name = "another"
    version = "1"
    languages: ClassVar[dict[str, Coverage]] = {}

    def __init__(self, reader: Reader, *, coverage: Coverage | None = None, moved: timedelta = timedelta()) -> None:
        self.reader = reader
        self.coverage = coverage
        self.moved = moved

    def read(self, text: str, **said: Any) -> Reading:
        """The other's reading; promises are due later, and the coverage is what was told."""
        reading = self.reader.read(text, **said)
        promises = tuple(
            one.model_copy(update={"due": one.due + self.moved}) if one.due is not None else one
            for one in reading.promises
        )
        return reading.model_copy(update={"promises": promises, "coverage": self.coverage or reading.coverage})


class _Blind(ToldReader):
    """A reader that knows no language."""

    def read(self, text: str, **_: Any) -> Any:
        """Nothing."""
        return NOTHING_READ


def _only(about: Case, needs: Needs) -> Case:
    """The case with what is declared and no more, as the host loads it."""
    return about.model_copy(
        update={
            "timeline": about.timeline[-needs.timeline :] if needs.timeline else (),
            "customer": about.customer if needs.customer else None,
            "clocks": about.clocks if needs.clocks else (),
            "promises": about.promises if needs.promises else (),
            "incidents": about.incidents if needs.incidents else (),
            "window": about.window if needs.window is not None else None,
            "lists": {name: values for name, values in about.lists.items() if name in needs.lists},
            "facts": {name: value for name, value in about.facts.items() if name in needs.facts},
        }
    )


def _moved(text: str, by: timedelta) -> str:
    def move(match: re.Match[str]) -> str:
        return (datetime.fromisoformat(match[0]) + by).isoformat()

    return _MOMENT.sub(move, text)


def _without_dates(text: str) -> str:
    """Notes name days in words; those move too, and are left out of the comparison."""
    return re.sub(r"\b\d{1,4}([-./ ])(\d{1,2}|[A-Z][a-z]+)\1\d{1,4}\b", "<date>", text)
