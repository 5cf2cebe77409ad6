"""The distributions fit together: one version, one shape of a plugin, every dependency pinned once."""

from __future__ import annotations

import re

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from support.repository import CONTRACT, DISTRIBUTIONS, PLUGINS, ROOT, Distribution, canonical, relative

PINS = {}
for line in (ROOT / "constraints.txt").read_text("utf-8").splitlines():
    name, _, version = line.partition("==")
    PINS[canonical(name)] = version


def names(distribution: Distribution) -> str:
    return distribution.name


def test_constraints_are_plain_pins() -> None:
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    assert [line for line in lines if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*==[0-9][0-9A-Za-z.!+]*", line)] == []
    assert len(lines) == len(PINS), "a package is pinned twice"


@pytest.mark.parametrize("distribution", DISTRIBUTIONS, ids=names)
def test_every_dependency_is_pinned_within_its_bounds(distribution: Distribution) -> None:
    own = {canonical(each.name): each.project["version"] for each in DISTRIBUTIONS}
    extras = distribution.project.get("optional-dependencies", {}).values()
    for line in [*distribution.project["dependencies"], *(line for extra in extras for line in extra)]:
        requirement = Requirement(line)
        version = own.get(canonical(requirement.name)) or PINS.get(canonical(requirement.name))
        assert version, f"{requirement.name} is missing from constraints.txt; CONTRIBUTING.md says how to add it"
        assert requirement.specifier.contains(Version(version)), f"{line} does not admit {version}"


@pytest.mark.parametrize("distribution", DISTRIBUTIONS, ids=names)
def test_versions_and_python_agree(distribution: Distribution) -> None:
    assert distribution.project["version"] == CONTRACT.project["version"]
    assert distribution.project["requires-python"] == CONTRACT.project["requires-python"]
    assert (distribution.folder / distribution.project["readme"]).is_file()
    assert (distribution.source / "py.typed").is_file(), "type checkers ignore the package without it"


@pytest.mark.parametrize("plugin", PLUGINS, ids=names)
def test_plugin_shape(plugin: Distribution) -> None:
    """What a reader of one plugin knows holds for the next: folder, package and entry point carry one name."""
    name = plugin.folder.name
    assert plugin.name == f"helpdesk-gateway-{name.replace('_', '-')}"
    assert plugin.entry_points == {name: f"gateway_{name}.plugin"}
    assert canonical(CONTRACT.name) in plugin.requires()
    parts = [f"gateway_{name}/plugin.py", "tests", "README.md"]
    if plugin.folder.parent.name != "policies":  # a policy talks to nobody: there is nobody to simulate or to record
        assert canonical(CONTRACT.name) in plugin.requires("twin")
        parts.append(f"gateway_{name}/twin.py")
    if plugin.folder.parent.name in ("sources", "helpdesks"):  # an enricher is asked: nothing is delivered by it
        parts.append("fixtures")
    for part in parts:
        assert (plugin.folder / part).exists(), f"{relative(plugin.folder)} lacks {part}"
