"""The kit for helpdesks can fail: a miniature helpdesk passes, and each of its deliberate faults is found by name."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from gateway_schemas.testing.faults import faults_of
from gateway_schemas.testing.faults_shared import FAULTS as SHARED
from gateway_schemas.testing.faults_shared import RECORDED
from gateway_schemas.testing.helpdesk_contract import HelpdeskContract
from gateway_schemas.testing.planting import checks_of, contract_of, faults_found, load_changed

MINIATURE = Path(__file__).parent / "miniature"
TWIN = load_changed(MINIATURE / "helpdesk_twin.py")
HELPDESK = MINIATURE / "helpdesk.py"
DESK = load_changed(HELPDESK)
WRONG = tomllib.loads((MINIATURE / "wrong_helpdesk.toml").read_text("utf-8"))["wrong"]


class TestDesk(HelpdeskContract):
    """The miniature is right."""

    plugin = DESK.DeskHelpdesk
    fixtures = TWIN.FIXTURES
    adapter = TWIN.DeskAdapter


@pytest.mark.parametrize("entry", WRONG, ids=[f"{n}-{entry['fault']}" for n, entry in enumerate(WRONG)])
def test_a_wrong_helpdesk_is_found(entry: dict[str, str]) -> None:
    module = load_changed(HELPDESK, entry["old"], entry["new"])
    adapter = TWIN.JobAdapter if entry["fault"] == "job_never_ends" else TWIN.DeskAdapter
    contract = contract_of(HelpdeskContract, module.DeskHelpdesk, TWIN.FIXTURES, adapter)
    assert entry["fault"] in faults_found(contract, entry["fault"])


def test_a_helpdesk_with_jobs_is_right() -> None:
    contract = contract_of(HelpdeskContract, DESK.DeskHelpdesk, TWIN.FIXTURES, TWIN.JobAdapter)
    assert faults_found(contract, "job_never_ends") == set()


def test_every_fault_of_a_helpdesk_is_planted() -> None:
    planted = {entry["fault"] for entry in WRONG}
    assert planted == {fault.name for fault in faults_of("helpdesk")} - set(SHARED) - set(RECORDED)


def test_every_check_is_named_after_a_fault() -> None:
    named = {name for fault in faults_of("helpdesk") for name in checks_of(HelpdeskContract, fault.name)}
    assert named == set(checks_of(HelpdeskContract))
