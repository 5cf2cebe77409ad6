"""The wheels work where nothing of the checkout can be seen: that is how users get the product."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from support.repository import CONTRACT, DISTRIBUTIONS, GATEWAY, PLUGINS, ROOT, Distribution
from support.wheels import Environment, build, environment

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

IMPORT_ALL = """
import importlib, pkgutil, sys
for root in sys.argv[1:]:
    package = importlib.import_module(root)
    for module in pkgutil.walk_packages(package.__path__, root + "."):
        parts = module.name.split(".")
        if "testing" not in parts and "_migrations" not in parts and not parts[-1].startswith(("twin", "__main__")):
            importlib.import_module(module.name)
    print(root, package.__file__)
"""


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One built wheel for each distribution, by its name."""
    built = {}
    for distribution in DISTRIBUTIONS:
        built[distribution.name] = build(distribution, tmp_path_factory.mktemp(distribution.package))
    return built


@pytest.fixture(scope="module")
def everything(wheels: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """The gateway and every plugin, installed."""
    return environment(tmp_path_factory.mktemp("everything"), *map(str, wheels.values()))


@pytest.mark.parametrize("distribution", DISTRIBUTIONS, ids=lambda distribution: distribution.name)
def test_wheel_holds_its_package_and_nothing_else(distribution: Distribution, wheels: dict[str, Path]) -> None:
    with zipfile.ZipFile(wheels[distribution.name]) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    shipped = {path.relative_to(distribution.folder).as_posix() for path in files(distribution.source)}
    if distribution == GATEWAY:
        migrations = ROOT / "migrations"
        shipped |= {f"gateway/_migrations/{path.relative_to(migrations).as_posix()}" for path in files(migrations)}
        assert {"gateway/_migrations/env.py", "gateway/_migrations/script.py.mako"} <= held
        assert any(name.startswith("gateway/_migrations/versions/") for name in held)
    assert held == shipped


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts]


def test_every_module_imports_from_the_wheels(everything: Environment) -> None:
    """An import of something undeclared works in a checkout and fails here."""
    printed = everything.run("python", "-W", "error", "-c", IMPORT_ALL, *(each.package for each in DISTRIBUTIONS))
    places = dict(line.split(" ", 1) for line in printed.splitlines())
    assert set(places) == {each.package for each in DISTRIBUTIONS}
    assert all(Path(place).is_relative_to(everything.folder) for place in places.values()), places


def test_plugins_need_only_the_contract(wheels: dict[str, Path], tmp_path: Path) -> None:
    """A plugin's author installs the contract and never the gateway."""
    needed = [CONTRACT, *PLUGINS]
    alone = environment(tmp_path, *(str(wheels[each.name]) for each in needed))
    alone.run("python", "-W", "error", "-c", IMPORT_ALL, *(each.package for each in needed))
    with pytest.raises(pytest.fail.Exception, match="No module named 'gateway'"):
        alone.run("python", "-c", "import gateway")


def test_twins_need_only_their_extra(wheels: dict[str, Path], tmp_path: Path) -> None:
    twins = [each for each in PLUGINS if (each.source / "twin.py").is_file()]
    extras = [f"{each.name}[twin] @ {wheels[each.name].as_uri()}" for each in twins]
    alone = environment(tmp_path, str(wheels[CONTRACT.name]), *extras)
    for each in twins:
        alone.run("python", "-W", "error", "-c", f"import {each.package}.twin")


def test_installed_gateway_lists_every_plugin(everything: Environment) -> None:
    assert "plugin" in everything.run("gateway", "--help")
    listed = json.loads(everything.run("gateway", "plugin", "list", "--json"))
    assert {each["distribution"] for each in listed} == {plugin.name for plugin in PLUGINS}
    # a connector is named as its entry point; a plugin of policies may register many
    connectors = {name for plugin in PLUGINS if plugin.source.parts[-3] != "policies" for name in plugin.entry_points}
    assert {each["name"] for each in listed if each["role"] in ("source", "helpdesk", "enricher")} == connectors
    assert [each for each in listed if each.get("error")] == []
