"""Plant a fault in a plugin and see what the kit finds: how the kit proves that each of its checks can fail.

module = load_changed(Path("acme/plugin.py"), 'encoding="base64"', 'encoding="hex"')
contract = contract_of(SourceContract, module.AcmeSource, FIXTURES, AcmeAdapter)
assert "genuine_refused" in faults_found(contract, "genuine_refused")
"""

from __future__ import annotations

import importlib.util
import inspect
import itertools
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from gateway_schemas.testing.failure import FaultFound


def load_changed(path: Path, old: str = "", new: str = "", *, more: str = "") -> ModuleType:
    """The module at `path` with the first `old` in it changed to `new`. Raises ValueError where it has no `old`."""
    source = path.read_text("utf-8")
    if old not in source:
        raise ValueError(f"{path} has no {old!r}")
    source = source.replace(old, new, 1) + more
    title = f"changed_{path.stem}_{abs(hash((str(path), source)))}"
    if title not in sys.modules:
        spec = importlib.util.spec_from_loader(title, loader=None, origin=str(path))
        assert spec is not None
        module = importlib.util.module_from_spec(spec)
        module.__file__ = str(path)
        sys.modules[title] = module
        exec(compile(source, str(path), "exec"), module.__dict__)
    return sys.modules[title]


def contract_of(kind: type[Any], plugin: type[Any], fixtures: Path, adapter: type[Any] | None = None) -> type[Any]:
    """A contract class as an author writes it."""
    names = {"plugin": plugin, "fixtures": fixtures, **({"adapter": adapter} if adapter is not None else {})}
    return type("Planted", (kind,), names)


def checks_of(contract: type[Any], fault: str | None = None) -> list[str]:
    """The names of a contract's checks; those that look for one fault."""
    names = [name for name, _ in inspect.getmembers(contract, inspect.isfunction) if name.startswith("test_")]
    return [name for name in names if fault is None or name == f"test_{fault}" or name.startswith(f"test_{fault}_")]


def faults_found(contract: type[Any], fault: str | None = None) -> set[str]:
    """Run the checks that look for `fault`, or all: the faults they find. Another error counts by its class's name."""
    found: set[str] = set()
    for name in checks_of(contract, fault):
        outcome = outcome_of(contract, name)
        if outcome is not None:
            found.add(outcome)
    return found


def outcome_of(contract: type[Any], name: str) -> str | None:
    """Run one check: the fault that it finds, another error by its class's name, or None."""
    instance, check = contract(), getattr(contract, name)
    given: dict[str, Any] = {
        mark.args[0]: mark.args[1] for mark in getattr(check, "pytestmark", ()) if mark.name == "parametrize"
    }
    wanted = inspect.signature(check).parameters
    if "recording" in wanted:
        given["recording"] = list(instance.recordings.files)
    if "webhook" in wanted:
        given["webhook"] = instance.recordings.webhooks
    for chosen in itertools.product(*given.values()):
        try:
            check(instance, **dict(zip(given, chosen, strict=True)))
        except FaultFound as error:
            return error.fault
        except pytest.skip.Exception:
            continue
        except Exception as error:
            return f"{type(error).__name__}: {error}"
    return None
