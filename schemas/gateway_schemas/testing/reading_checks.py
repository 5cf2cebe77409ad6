"""Checks of what deliveries say, on the recorded ones: goldens, purity, tolerance, hostility, ids."""

from __future__ import annotations

import copy
import difflib
import json
import re
import time
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

from gateway_schemas.errors import GatewayError, Malformed
from gateway_schemas.interaction import Ignored, Interaction, Unreadable
from gateway_schemas.testing.failure import found, needs, unless
from gateway_schemas.testing.fixtures import golden_text, golden_value
from gateway_schemas.testing.plugin_contract import PluginContract
from gateway_schemas.webhook import RawDelivery, WebhookResponse

_BIG = 9_007_199_254_740_993
"""2^53 + 1: the first whole number that a float cannot hold."""
_HOSTILE: tuple[Any, ...] = (None, [], {}, "", "\ud83d", "\x00", -1, 1.5, True, 10**40, [None], {"id": None}, "9" * 30)
_PATIENCE = 2.0
"""Seconds of processor time for one long delivery: a hundred times of what reading it takes."""


_TIMES = ("published_at", "edited_at", "deleted_at", "updated_at", "at")
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|\+00:00)")


class ReadingChecks(PluginContract):
    """On every recorded delivery."""

    def test_fixture_incomplete(self) -> None:
        """Fixtures, goldens and their sources belong together."""
        recordings = self.recordings
        unless(recordings.files, "fixture_incomplete", f"there are no fixtures in {recordings.folder / 'in'}")
        unless(not recordings.orphans, "fixture_incomplete", f"goldens without a fixture: {recordings.orphans}")
        unless(
            (recordings.folder / "SOURCES.md").exists(), "fixture_incomplete", f"{recordings.folder} has no SOURCES.md"
        )
        for name in recordings.files:
            unless("__" in name, "fixture_incomplete", f"{name}: name it <event>__<case>")

    def test_golden_differs(self, recording: str) -> None:
        """Each fixture says what its golden says."""
        path = self.recordings.golden(recording)
        unless(path.exists(), "fixture_incomplete", f"{path.name} does not exist")
        actual = golden_text(golden_value(self._says(recording)))
        expected = golden_text(json.loads(path.read_text("utf-8")))
        if actual != expected:
            lines = difflib.unified_diff(
                expected.splitlines(), actual.splitlines(), path.name, "what the plugin gives", lineterm=""
            )
            found("golden_differs", "\n".join([recording, *lines]))

    def test_normalise_not_pure(self, recording: str) -> None:
        """Twice says what once says: by the same instance, by a new one, at another time, with another delivery id."""
        plugin, delivery = self.recordings.plugin(recording), self.recordings.delivery(recording)
        if self._answered(recording) is not None:
            return
        note = copy.deepcopy(delivery.note)
        first = golden_value(self._normalise(plugin, delivery))
        unless(delivery.note == note, "normalise_not_pure", f"{recording}: it changes the delivery's note")
        later = self.recordings.plugin(recording)
        later.setup.time.pass_by(days=400)
        for again, how in (
            (self._normalise(plugin, delivery), "asked twice, the same instance says different things"),
            (self._normalise(later, dataclass_with(delivery, id="another")), "a year later it says another thing"),
        ):
            unless(golden_value(again) == first, "normalise_not_pure", f"{recording}: {how}")

    def test_unknown_event_not_ignored(self) -> None:
        """An event that the plugin does not know is ignored with a reason."""
        names = [name for name in self.recordings.webhooks if name.partition("__")[2].startswith("unknown")]
        needs(self.plugin.capabilities.webhook, "webhook")  # type: ignore[attr-defined]
        needs(self.names_events, "webhooks that name events (`names_events`)")
        unless(
            names, "unknown_event_not_ignored", "no fixture's case begins with `unknown` (`in/<event>__unknown….http`)"
        )
        for name in names:
            says = self._says(name)
            ignored = says and all(isinstance(item, Ignored) and item.reason for item in says)
            unless(ignored, "unknown_event_not_ignored", f"{name} gives {_kinds(says)}")

    def test_extra_field_not_tolerated(self, recording: str) -> None:
        """Fields that nobody knows yet change nothing."""
        needs(not self.own_format, "a provider that adds fields (`own_format`)")
        document = self._document(recording)
        if document is None:
            return
        body = json.dumps(_with_extra_fields(document)).encode()
        self._same(recording, body, "extra_field_not_tolerated", "a field that nobody knows in every object")

    def test_time_wrong_in_another_zone(self, recording: str) -> None:
        """The same moments told with another offset from UTC are the same moments."""
        document = self._document(recording)
        if document is None:
            return
        plugin, delivery = self.recordings.pure(recording)
        moved = json.dumps(_in_another_zone(document)).encode()
        if self._answered(recording) is not None or moved == json.dumps(document).encode():
            return
        before = self._normalise(plugin, delivery)
        after = self._normalise(plugin, dataclass_with(delivery, body=moved))
        for one, other in zip(before, after, strict=False):
            for name in _TIMES:
                then, now = getattr(one, name, None), getattr(other, name, None)
                unless(then == now, "time_wrong", f"{recording}: with an offset of 5:30 {name} is {now}, not {then}")

    def test_truncated_body_crashes(self, recording: str) -> None:
        """A body that was cut off is Malformed, or says less."""
        body = self.recordings.delivery(recording).body
        for end in sorted({1, len(body) // 3, len(body) // 2, len(body) - 2, len(body) - 1}):
            if 0 < end < len(body):
                self._survives(recording, body[:end], "truncated_body_crashes", f"cut off after {end} bytes")

    def test_empty_body_crashes(self, recording: str) -> None:
        """Nothing, and documents with nothing in them."""
        for body in (b"", b"  \n", b"{}", b"[]", b"null", b'""', b"0", b"true"):
            self._survives(recording, body, "empty_body_crashes", f"the body {body!r}")

    def test_hostile_body_crashes(self, recording: str) -> None:
        """Every value in turn is replaced by what nobody expects there."""
        document = self._document(recording)
        for body in (b"\xff\xfe\x00", b'{"a": "\x00"}', b'"\\ud800"', b"<html>502</html>", b"\xef\xbb\xbf{}", b"NaN"):
            self._survives(recording, body, "hostile_body_crashes", f"the body {body!r}")
        if document is None:
            return
        places = list(_places(document))
        step = max(1, len(places) // 40)
        for number, place in enumerate(places[::step]):
            for turn in range(2):
                value = _HOSTILE[(number * 7 + turn * 5 + 2) % len(_HOSTILE)]
                body = json.dumps(_replaced(document, place, value)).encode()
                self._survives(recording, body, "hostile_body_crashes", f"{_dotted(place)} is {value!r:.40}")

    def test_huge_body_slow(self, recording: str) -> None:
        """A long text where a text is, and a deep document."""
        self._survives(recording, b"[" * 50_000, "huge_body_slow", "50,000 lists in each other", timed=True)
        document = self._document(recording)
        if document is None:
            return
        deep: Any = "x"
        for _ in range(400):
            deep = {"x": deep}
        texts = [place for place in _places(document) if isinstance(_at(document, place), str)]
        longest = sorted(texts, key=lambda place: (" " in _at(document, place), len(_at(document, place))))[-1:]
        for place in longest:
            for piece in ("a ", "@a https://a.example/ ", "<p>&amp;((("):
                body = json.dumps(_replaced(document, place, piece * 6_000)).encode()
                what = f"{_dotted(place)} repeats {piece!r} 6,000 times"
                self._survives(recording, body, "huge_body_slow", what, timed=True)
            body = json.dumps(_replaced(document, place, deep)).encode()
            self._survives(recording, body, "huge_body_slow", f"{_dotted(place)} is 400 levels deep", timed=True)

    def test_broken_item_takes_others_along(self, recording: str) -> None:
        """In a list of things one is broken; the others are read all the same."""
        document = self._document(recording)
        before = self._identities(recording, None)
        if document is None or len(before) < 2:
            return
        for place in _places(document):
            items = _at(document, place)
            if not isinstance(items, list) or len(items) < 2:
                continue
            for index in range(min(len(items), 4)):
                without = _replaced(document, place, items[:index] + items[index + 1 :])
                rest = self._identities(recording, json.dumps(without).encode())
                if not rest or len(rest) >= len(before) or not rest <= before:
                    continue  # this list does not hold things, or the others hang on this one
                broken: Any
                for broken in ({}, None, "x", {"id": []}):
                    changed = _replaced(document, place, [*items[:index], broken, *items[index + 1 :]])
                    what = f"{_dotted(place)}[{index}] is {broken!r}"
                    kept = self._identities(recording, json.dumps(changed).encode())
                    unless(
                        rest <= kept,
                        "broken_item_takes_others_along",
                        f"{recording}: {what}, and {sorted(rest - kept)[:3]} are lost with it",
                    )

    def test_id_through_float(self, recording: str) -> None:
        """Every numeric id in the body is made one above 2^53, and comes out whole."""
        body = self.recordings.delivery(recording).body
        if self._document(recording) is None:
            return
        ids = sorted({id for id in self._identities(recording, None) if id.isascii() and id.isdigit()})
        for number, old in enumerate(ids):
            pattern = re.compile(rb"(?<![0-9.])" + old.encode() + rb"(?![0-9.])")
            new = str(_BIG + 2 * number)
            if len(old) > 15 or not pattern.search(body):
                continue
            after = self._identities(recording, pattern.sub(new.encode(), body))
            unless(new in after, "id_through_float", f"{recording}: the id {new} came out as {sorted(after)}")

    # how

    def _answered(self, name: str) -> WebhookResponse | None:
        answer = self.recordings.answered(name)
        return answer if answer is not None and not answer.store else None

    def _says(self, name: str) -> Sequence[Any]:
        try:
            return self.recordings.says(name)
        except RuntimeError as error:
            if "may not" in str(error):
                found("pure_method_uses_network", str(error))
            raise

    def _normalise(self, plugin: Any, delivery: RawDelivery) -> Sequence[Any]:
        try:
            return list(plugin.normalise(delivery))
        except Malformed as error:
            return [error]
        except RuntimeError as error:
            if "may not" in str(error):
                found("pure_method_uses_network", str(error))
            raise

    def _document(self, name: str) -> Any:
        if self._answered(name) is not None:
            return None
        try:
            document = json.loads(self.recordings.delivery(name).body)
        except ValueError:
            return None
        return document if isinstance(document, dict | list) else None

    def _with_body(self, name: str, body: bytes) -> RawDelivery:
        return dataclass_with(self.recordings.pure(name)[1], body=body)

    def _survives(self, name: str, body: bytes, fault: str, what: str, *, timed: bool = False) -> None:
        begun = time.process_time()
        try:
            news = list(self.recordings.pure(name)[0].normalise(self._with_body(name, body)))
        except GatewayError as error:
            unless(isinstance(error, Malformed), fault, f"{name}, {what}: {type(error).__name__} instead of Malformed")
            news = []
        except Exception as error:
            found(fault, f"{name}, {what}: {type(error).__name__}: {error!s:.200}")
        if timed:
            took = time.process_time() - begun
            unless(took < _PATIENCE, fault, f"{name}, {what}: took {took:.1f} s")
        for item in news:
            try:
                item.model_dump_json()
            except Exception as error:  # half an emoji cannot be stored
                found(fault, f"{name}, {what}: what it gives cannot be stored: {error!s:.200}")

    def _same(self, name: str, body: bytes, fault: str, what: str) -> None:
        before = golden_value(self._says(name))
        after = golden_value(self._normalise(self.recordings.plugin(name), self._with_body(name, body)))
        unless(_facts(before) == _facts(after), fault, f"{name}, {what}: it says something else than without")

    def _identities(self, name: str, body: bytes | None) -> set[str]:
        """The ids of what a delivery tells (not of what it merely wants)."""
        delivery = self.recordings.delivery(name) if body is None else self._with_body(name, body)
        if self._answered(name) is not None:
            return set()
        news = self._normalise(self.recordings.pure(name)[0], delivery)
        return {_identity(item) for item in news if not isinstance(item, Ignored | Unreadable | Malformed)} - {""}


def dataclass_with(delivery: RawDelivery, **changes: Any) -> RawDelivery:
    """The same delivery with other values; a copy of its note."""
    values = {name: getattr(delivery, name) for name in RawDelivery.__slots__}
    return RawDelivery(**{**values, "note": copy.deepcopy(delivery.note), **changes})


def _identity(item: Any) -> str:
    if isinstance(item, Interaction):
        return item.external_id
    return str(getattr(item, "external_id", None) or getattr(item, "ref", None) or getattr(item, "ticket", None) or "")


def _kinds(says: Sequence[Any]) -> str:
    return ", ".join(type(item).__name__ for item in says) or "nothing"


def _facts(value: Any) -> str:
    """Golden values as text, without what content hashes and kept rests may legitimately have of a new field."""
    return json.dumps(value, sort_keys=True)


def _with_extra_fields(value: Any) -> Any:
    match value:
        case dict():
            return {**{name: _with_extra_fields(one) for name, one in value.items()}, "kit_unknown_field": {"a": [1]}}
        case list():
            return [_with_extra_fields(one) for one in value]
    return value


def _places(value: Any, here: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    entries: Any = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in entries:
        yield (*here, key)
        yield from _places(one, (*here, key))


def _at(document: Any, place: tuple[Any, ...]) -> Any:
    for key in place:
        document = document[key]
    return document


def _replaced(document: Any, place: tuple[Any, ...], value: Any) -> Any:
    if not place:
        return value
    changed = dict(document) if isinstance(document, dict) else list(document)
    changed[place[0]] = _replaced(document[place[0]], place[1:], value)
    return changed


def _dotted(place: tuple[Any, ...]) -> str:
    return ".".join(map(str, place))


def _in_another_zone(value: Any) -> Any:
    match value:
        case dict():
            return {name: _in_another_zone(one) for name, one in value.items()}
        case list():
            return [_in_another_zone(one) for one in value]
        case str() if _MOMENT.fullmatch(value):
            return datetime.fromisoformat(value).astimezone(timezone(timedelta(hours=5, minutes=30))).isoformat()
    return value
