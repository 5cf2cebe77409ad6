"""The kit for sources can fail: a miniature source passes, and each of its deliberate faults is found by name."""

from __future__ import annotations

import importlib.util
import inspect
import itertools
import shutil
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from gateway_schemas.testing.failure import FaultFound
from gateway_schemas.testing.faults import faults_of
from gateway_schemas.testing.source_contract import SourceContract

MINIATURE = Path(__file__).parent / "miniature"


def load(name: str, source: str | None = None) -> ModuleType:
    """A module of the miniature; with `source`, one of that text instead."""
    path = MINIATURE / f"{name}.py"
    title = f"miniature_{name}_{abs(hash(source))}" if source else f"miniature_{name}"
    if title in sys.modules:
        return sys.modules[title]
    spec = importlib.util.spec_from_file_location(title, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[title] = module
    if source is None:
        spec.loader.exec_module(module)
    else:
        exec(compile(source, f"{path} (wrong)", "exec"), module.__dict__)
    return module


TWIN = load("source_twin")
PINS = load("source")
TEXT = (MINIATURE / "source.py").read_text("utf-8")


class TestPins(SourceContract):
    """The miniature is right."""

    plugin = PINS.PinSource
    fixtures = TWIN.FIXTURES
    adapter = TWIN.PinAdapter


WRONG = tomllib.loads((MINIATURE / "wrong_source.toml").read_text("utf-8"))["wrong"]


SLOW = """

def _slow(text):
    for _ in range(900 if len(text) > 5_000 else 0):
        sorted(text * 10)
    return text
"""


def wrong(old: str, new: str) -> ModuleType:
    """The miniature with one place changed."""
    assert TEXT.count(old) >= 1, f"the miniature has no {old!r} any more"
    return load("source", TEXT.replace(old, new, 1) + SLOW)


def found_in(contract: type[Any], fault: str) -> Iterator[str]:
    """The faults that the checks named after `fault` find."""
    for name, check in inspect.getmembers(contract, inspect.isfunction):
        if name == f"test_{fault}" or name.startswith(f"test_{fault}_"):
            yield from _found_by(contract, check)


def _found_by(contract: type[Any], check: Any) -> Iterator[str]:
    instance = contract()
    parameters = {mark.args[0]: mark.args[1] for mark in getattr(check, "pytestmark", ()) if mark.name == "parametrize"}
    for argument, values in (
        ("recording", lambda: list(instance.recordings.files)),
        ("webhook", lambda: instance.recordings.webhooks),
    ):
        if argument in inspect.signature(check).parameters:
            parameters[argument] = values()
    for chosen in itertools.product(*parameters.values()):
        try:
            check(instance, **dict(zip(parameters, chosen, strict=True)))
        except FaultFound as error:
            yield error.fault
            return
        except pytest.skip.Exception:
            continue
        except Exception as error:
            yield f"{type(error).__name__}: {error}"
            return


@pytest.mark.parametrize("entry", WRONG, ids=[f"{n}-{entry['fault']}" for n, entry in enumerate(WRONG)])
def test_a_wrong_source_is_found(entry: dict[str, str]) -> None:
    fault, module = entry["fault"], wrong(entry["old"], entry["new"])
    contract = type(
        "Wrong", (SourceContract,), {"plugin": module.PinSource, "fixtures": TWIN.FIXTURES, "adapter": TWIN.PinAdapter}
    )
    assert fault in set(found_in(contract, fault))


def test_a_key_that_is_not_passed_on_is_found() -> None:
    keyed = wrong("idempotent_send=False", "idempotent_send=True")
    text = TEXT.replace("idempotent_send=False", "idempotent_send=True")
    forgets = load("source", text.replace('"x-key": key', '"x-key": __import__("uuid").uuid4().hex'))
    for module, expected in ((keyed, set()), (forgets, {"idempotency_not_kept"})):
        names = {"plugin": module.PinSource, "fixtures": TWIN.FIXTURES, "adapter": TWIN.KeyedAdapter}
        assert set(found_in(type("Keyed", (SourceContract,), names), "idempotency_not_kept")) == expected


def test_every_fault_of_a_source_is_planted() -> None:
    planted = {entry["fault"] for entry in WRONG} | {"idempotency_not_kept", "fixture_incomplete"}
    assert planted == {fault.name for fault in faults_of("source")}


def test_every_check_is_named_after_a_fault() -> None:
    names = {fault.name for fault in faults_of("source")}
    for name, _ in inspect.getmembers(SourceContract, inspect.isfunction):
        if name.startswith("test_"):
            assert any(f"test_{fault}" == name or name.startswith(f"test_{fault}_") for fault in names), name


def test_a_golden_without_its_fixture_is_found(tmp_path: Path) -> None:
    shutil.copytree(TWIN.FIXTURES, tmp_path / "fixtures")
    (tmp_path / "fixtures" / "in" / "gone__case.golden.json").write_text("[]")
    names = {"plugin": PINS.PinSource, "fixtures": tmp_path / "fixtures", "adapter": TWIN.PinAdapter}
    assert set(found_in(type("Orphan", (SourceContract,), names), "fixture_incomplete")) == {"fixture_incomplete"}
