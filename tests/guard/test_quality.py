"""Every shipped plugin is at the highest level, and the report that it carries is what the check says.

The conformance kit itself runs in each plugin's own tests.
"""

from __future__ import annotations

import pytest

from gateway_schemas.authoring.package import Package
from gateway_schemas.authoring.report import FILE, evaluate
from support.repository import PLUGINS, Distribution


@pytest.mark.parametrize("plugin", PLUGINS, ids=lambda plugin: plugin.name)
def test_shipped_plugin_is_at_the_highest_level(plugin: Distribution) -> None:
    report = evaluate(Package(plugin.folder), None)
    assert report.ok, report.as_text()
    assert report.level == "gold"
    carried = plugin.folder / FILE
    assert carried.is_file(), f"run: gateway plugin check {plugin.folder} --write"
    assert carried.read_text("utf-8") == report.carried(), f"run: gateway plugin check {plugin.folder} --write"
