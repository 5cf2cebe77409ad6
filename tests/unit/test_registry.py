"""One broken plugin is listed as broken with its error; the rest start."""

from __future__ import annotations

import itertools
import subprocess
import sys
import textwrap
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from gateway.registry import Listed, Registry
from gateway_schemas.hookspecs import ENTRY_POINTS
from support import plugins

numbers = itertools.count()

PREAMBLE = """
from pydantic import BaseModel
from gateway_schemas import hookimpl
from gateway_schemas.capabilities import HelpdeskCapabilities, SourceCapabilities
from gateway_schemas.enricher import Enricher
from gateway_schemas.policy import Policy
from gateway_schemas.plugin import Health
from gateway_schemas.source import Source
from gateway_schemas.helpdesk import Helpdesk

class Config(BaseModel):
    pass

class Whole(Source[Config]):
    name = "whole"
    Config = Config
    capabilities = SourceCapabilities(kinds=frozenset({"post"}))
    def verify(self, request): pass
    def normalise(self, delivery): return []
    async def check(self): return Health(ok=True)
"""
REGISTER = """
@hookimpl
def register_sources():
    return [Mine]
"""
GOOD = "class Mine(Whole):\n    name = 'good'\n" + REGISTER
SAME = "class Mine(Whole): pass\n" + REGISTER

Write = Callable[..., EntryPoint]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Writes a plugin module and returns the entry point that names it."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def one(code: str) -> EntryPoint:
        module = f"plugin_{next(numbers)}_of_test"
        (tmp_path / f"{module}.py").write_text(PREAMBLE + textwrap.dedent(code))
        return EntryPoint(module, module, ENTRY_POINTS)

    return one


def loaded(*entries: EntryPoint) -> tuple[Registry, list[Listed]]:
    """A registry of these, and what it lists as broken."""
    registry = Registry.load(entries)
    return registry, [one for one in registry.listed if not one.ok]


def test_a_plugin_that_keeps_the_contract_is_there_under_its_name(write: Write) -> None:
    registry, broken = loaded(write(GOOD))
    assert not broken
    assert registry.plugin("source", "good") is registry.sources["good"]
    assert registry.plugin("helpdesk", "good") is None
    [listed] = registry.listed
    assert (listed.role, listed.name, listed.ok, listed.error) == ("source", "good", True, "")


BROKEN_MODULES = {
    "a syntax error": ("def x(:\n", "SyntaxError"),
    "a missing dependency": ("import no_such_library", "ModuleNotFoundError: No module named 'no_such_library'"),
    "an error at import": ("1 / 0", "ZeroDivisionError: division by zero"),
    "an exit at import": ("raise SystemExit('I quit')", "SystemExit: I quit"),
    "no hook": ("", "registers nothing: implement register_sources, register_helpdesks"),
    "a hook that gives nothing": ("@hookimpl\ndef register_sources(): return []", "registers nothing"),
    "a hook that gives None": ("@hookimpl\ndef register_sources(): return None", "registers nothing"),
    "a hook that raises": ("@hookimpl\ndef register_sources(): raise KeyError('credentials')", "KeyError"),
    "a hook that gives no list": ("@hookimpl\ndef register_sources(): return Whole", "TypeError"),
    "a misspelt hook": ("@hookimpl\ndef register_source(): return [Whole]", "register_source"),
    "a hook with arguments": ("@hookimpl\ndef register_sources(app): return [Whole]", "app"),
}


@pytest.mark.parametrize(("code", "error"), BROKEN_MODULES.values(), ids=BROKEN_MODULES)
def test_a_broken_module_is_listed_with_its_error_and_the_rest_start(write: Write, code: str, error: str) -> None:
    bad = write(code)
    registry, broken = loaded(write(GOOD), bad, write(GOOD.replace("'good'", "'better'")))
    assert set(registry.sources) == {"good", "better"}
    [listed] = broken
    assert (listed.role, listed.name, listed.distribution) == ("plugin", bad.name, bad.value)
    assert error in listed.error


def test_a_module_that_is_not_there_is_listed(write: Write) -> None:
    registry, [listed] = loaded(write(GOOD), EntryPoint("ghost", "no_such_module_at_all", ENTRY_POINTS))
    assert set(registry.sources) == {"good"}
    assert (listed.name, listed.error) == ("ghost", "ModuleNotFoundError: No module named 'no_such_module_at_all'")


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")
def test_an_asynchronous_hook_is_listed_as_broken(write: Write) -> None:
    _, [listed] = loaded(write("@hookimpl\nasync def register_sources(): return [Whole]"))
    assert "TypeError" in listed.error


BROKEN_CLASSES = {
    "a string": ("Mine = 'whole'", "is not a subclass of Source"),
    "a class of its own": ("class Mine:\n    name = 'mine'", "is not a subclass of Source"),
    "another role": ("class Mine(Policy):\n    name = type = 'mine'", "is not a subclass of Source"),
    "missing methods": ("class Mine(Source[Config]):\n    name = 'mine'", "Mine lacks check, normalise, verify"),
    "another contract": ("class Mine(Whole):\n    contract = 2", "written for contract 2, this gateway speaks 1"),
    "the contract in words": ("class Mine(Whole):\n    contract = '1'", "written for contract 1, this gateway"),
    "no name": ("class Mine(Whole): pass\ndel Whole.name", "Mine does not set name"),
    "an empty name": ("class Mine(Whole):\n    name = ''", "Mine.name is not a word"),
    "a number for a name": ("class Mine(Whole):\n    name = 5", "Mine.name is not a word"),
    "no Config": ("class Mine(Whole): pass\ndel Whole.Config", "Mine does not set Config"),
    "a Config that is no model": ("class Mine(Whole):\n    Config = dict", "Mine.Config is not a Pydantic model"),
    "an AppConfig that is no model": ("class Mine(Whole):\n    AppConfig = {}", "Mine.AppConfig is not a Pydantic"),
    "no capabilities": ("class Mine(Whole): pass\ndel Whole.capabilities", "Mine does not set capabilities"),
    "a helpdesk's capabilities": (
        "class Mine(Whole):\n    capabilities = HelpdeskCapabilities()",
        "Mine.capabilities is not SourceCapabilities",
    ),
}


@pytest.mark.parametrize(("code", "error"), BROKEN_CLASSES.values(), ids=BROKEN_CLASSES)
def test_a_class_that_breaks_the_contract_is_refused_and_says_how(write: Write, code: str, error: str) -> None:
    registry, [listed] = loaded(write(GOOD), write(code + "\n" + REGISTER))
    assert set(registry.sources) == {"good"}
    assert listed.role == "source"
    assert error in listed.error


def test_a_broken_class_does_not_take_its_module_down(write: Write) -> None:
    code = """
    class Careful(Policy):
        type = "careful"
        Params = Config

    class Careless(Policy):
        type = "careless"

    class Facts(Enricher[Config]):
        name = "facts"
        Config = Config
        async def enrich(self, case): return {}

    @hookimpl
    def register_sources():
        return (Whole,)

    @hookimpl
    def register_policies():
        return [Careful, Careless]

    @hookimpl
    def register_enrichers():
        yield Facts
    """
    registry, [listed] = loaded(write(code))
    found = (set(registry.sources), set(registry.policies), set(registry.enrichers))
    assert found == ({"whole"}, {"careful"}, {"facts"})
    assert (listed.role, listed.name, listed.error) == ("policy", "careless", "Careless does not set Params")


@pytest.mark.parametrize("rivals", [2, 3, 4])
def test_plugins_of_one_name_are_all_refused_and_each_is_told_who_the_others_are(write: Write, rivals: int) -> None:
    same = [write(SAME) for _ in range(rivals)]
    registry, broken = loaded(*same[:1], write(GOOD), *same[1:])
    assert set(registry.sources) == {"good"}
    assert len(broken) == rivals
    for one in broken:
        assert all(f"{entry.value}.Mine" in one.error for entry in same), one.error


def test_a_broken_rival_takes_no_name_and_keeps_its_own_error(write: Write) -> None:
    rival = "class Mine(Whole):\n    name = 'good'\n    contract = 0\n" + REGISTER
    registry, [listed] = loaded(write(GOOD), write(rival))
    assert set(registry.sources) == {"good"}
    assert "contract 0" in listed.error


def test_one_name_in_two_roles_is_no_conflict(write: Write) -> None:
    code = """
    class Desk(Helpdesk[Config]):
        name = "whole"
        Config = Config
        capabilities = HelpdeskCapabilities()
        def verify(self, request): pass
        def normalise(self, delivery): return []
        async def fetch(self, wanted): return ()
        async def poll(self, stream, cursor): pass
        async def push(self, changes): return ()
        async def find(self, intent): pass
        async def check(self): return Health(ok=True)

    @hookimpl
    def register_sources():
        return [Whole]

    @hookimpl
    def register_helpdesks():
        return [Desk]
    """
    registry, broken = loaded(write(code))
    assert not broken
    assert registry.plugin("source", "whole") is not registry.plugin("helpdesk", "whole")


def test_the_order_in_which_plugins_are_found_changes_nothing(write: Write) -> None:
    entries = [write(GOOD), write("1 / 0"), write(SAME), write(SAME)]
    listings = {tuple(Registry.load(order).listed) for order in itertools.permutations(entries)}
    assert len(listings) == 1


def test_modules_under_development_are_loaded_beside_the_installed_ones(write: Write) -> None:
    registry = Registry.load([write(GOOD)], modules=[plugins.MODULE, "no.such.module"])
    assert set(registry.sources) == {"good", "wild", "radio"}
    assert registry.policies["wild"] is plugins.WildPolicy
    [broken] = [one for one in registry.listed if not one.ok]
    assert (broken.name, broken.error) == ("no.such.module", "ModuleNotFoundError: No module named 'no'")


def test_a_module_that_is_installed_and_named_besides_is_one_plugin(write: Write) -> None:
    good = write(GOOD)
    registry = Registry.load([good], modules=[good.value])
    assert [(one.name, one.ok) for one in registry.listed] == [("good", True)]
    assert set(registry.sources) == {"good"}


def test_the_installed_plugins_all_keep_the_contract() -> None:
    registry = Registry.load()
    assert not [one for one in registry.listed if not one.ok]
    assert {"x", "inbound"} <= set(registry.sources)
    assert {"freshdesk", "zendesk"} <= set(registry.helpdesks)
    assert all(one.distribution.startswith("helpdesk-gateway-") and one.version for one in registry.listed)


def test_the_command_line_lists_plugins_under_development_and_fails_for_broken_ones() -> None:
    path = str(Path(plugins.__file__).parents[1])
    found = subprocess.run(
        [sys.executable, "-m", "gateway.cli", "plugin", "list"],
        env={"PYTHONPATH": path, "GATEWAY_PLUGIN_MODULES": f"{plugins.MODULE}, no_such_module", "PATH": ""},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert found.returncode == 1, found.stderr
    assert "wild" in found.stdout
    assert "No module named 'no_such_module'" in found.stdout
