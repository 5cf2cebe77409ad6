"""The kit for sources can fail: a miniature source passes, and each of its deliberate faults is found by name."""

from __future__ import annotations

import shutil
import tomllib
from pathlib import Path
from typing import Any

import pytest

from gateway_schemas.testing.faults import faults_of, page_of
from gateway_schemas.testing.planting import checks_of, contract_of, faults_found, load_changed
from gateway_schemas.testing.source_contract import SourceContract

MINIATURE = Path(__file__).parent / "miniature"
TWIN = load_changed(MINIATURE / "source_twin.py")
SOURCE = MINIATURE / "source.py"
PINS = load_changed(SOURCE)
WRONG = tomllib.loads((MINIATURE / "wrong_source.toml").read_text("utf-8"))["wrong"]
SLOW = """

def _slow(text):
    for _ in range(900 if len(text) > 5_000 else 0):
        sorted(text * 10)
    return text
"""


class TestPins(SourceContract):
    """The miniature is right."""

    plugin = PINS.PinSource
    fixtures = TWIN.FIXTURES
    adapter = TWIN.PinAdapter


@pytest.mark.parametrize("entry", WRONG, ids=[f"{n}-{entry['fault']}" for n, entry in enumerate(WRONG)])
def test_a_wrong_source_is_found(entry: dict[str, str]) -> None:
    module = load_changed(SOURCE, entry["old"], entry["new"], more=SLOW)
    contract = contract_of(SourceContract, module.PinSource, TWIN.FIXTURES, TWIN.PinAdapter)
    assert entry["fault"] in faults_found(contract, entry["fault"])


def test_a_key_that_is_not_passed_on_is_found(tmp_path: Path) -> None:
    keyed = tmp_path / "keyed.py"
    keyed.write_text(SOURCE.read_text("utf-8").replace("idempotent_send=False", "idempotent_send=True"), "utf-8")
    for module, expected in (
        (load_changed(keyed), set()),
        (load_changed(keyed, '"x-key": key', '"x-key": __import__("uuid").uuid4().hex'), {"idempotency_not_kept"}),
    ):
        contract = contract_of(SourceContract, module.PinSource, TWIN.FIXTURES, TWIN.KeyedAdapter)
        assert faults_found(contract, "idempotency_not_kept") == expected


def test_a_slot_that_is_overwritten_is_found(tmp_path: Path) -> None:
    looks = """
        own = parse_object(await self._get("/notes/own"))["notes"]
        there = [one["text"] for one in own if str(one["to"]) == rendered.target.ref]
        if there and (await self.state.load()).get("seen") != there:
            await self.state.merge({"seen": there})
            raise Hold(there[0])
        response = await self._call("POST", "/notes","""
    source = SOURCE.read_text("utf-8").replace("reply=True,", "reply=True, one_slot=True,", 1)
    source = source.replace("import GatewayError, Gone,", "import GatewayError, Gone, Hold,", 1)
    source = source.replace('\n        response = await self._call("POST", "/notes",', looks, 1)
    slotted = tmp_path / "slotted.py"
    slotted.write_text(source, "utf-8")
    for module, expected in (
        (load_changed(slotted), set()),
        (load_changed(slotted, "if there and", "if False and"), {"slot_overwritten"}),
        (load_changed(slotted, "raise Hold(there[0])", 'raise Hold("taken")'), {"slot_overwritten"}),
    ):
        contract = contract_of(SourceContract, module.PinSource, TWIN.FIXTURES, TWIN.PinAdapter)
        assert faults_found(contract, "slot_overwritten") == expected


def test_a_golden_without_its_fixture_is_found(tmp_path: Path) -> None:
    shutil.copytree(TWIN.FIXTURES, tmp_path / "fixtures")
    (tmp_path / "fixtures" / "in" / "gone__case.golden.json").write_text("[]")
    contract = contract_of(SourceContract, PINS.PinSource, tmp_path / "fixtures", TWIN.PinAdapter)
    assert faults_found(contract, "fixture_incomplete") == {"fixture_incomplete"}


def test_every_fault_of_a_source_is_planted() -> None:
    planted = {entry["fault"] for entry in WRONG} | {"idempotency_not_kept", "fixture_incomplete", "slot_overwritten"}
    assert planted == {fault.name for fault in faults_of("source")}


def test_every_check_is_named_after_a_fault() -> None:
    named = {name for fault in faults_of("source") for name in checks_of(SourceContract, fault.name)}
    assert named == set(checks_of(SourceContract))


@pytest.mark.parametrize("kind", ["source", "helpdesk", "policy"])
def test_the_documentation_is_that_of_the_list(kind: Any) -> None:
    page = Path(__file__).parents[2] / "docs" / "kit" / f"{kind}.md"
    assert page.read_text("utf-8") == page_of(kind), "write it: python -m gateway_schemas.testing.faults docs/kit"
