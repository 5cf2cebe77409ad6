"""An author of a plugin installs the contract and nothing else: scaffold, check and tutorial work with that alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.repository import CONTRACT, ROOT
from support.walkthrough import Walkthrough
from support.wheels import Environment, build, environment, run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

# Whoever tries the network all the same, finds nobody there.
CLOSED = {
    **dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy"), "http://127.0.0.1:9"),
    "PIP_NO_INDEX": "1",
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
}


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """An environment with the contract's wheel and its extra for testing."""
    wheel = build(CONTRACT, tmp_path_factory.mktemp("contract"))
    wanted = f"{CONTRACT.name}[testing] @ {wheel.as_uri()}"
    return environment(tmp_path_factory.mktemp("alone"), wanted, pip=True)


@pytest.mark.parametrize("kind", ["source", "helpdesk", "policy"])
def test_a_new_plugin_passes_its_tests_at_once(alone: Environment, kind: str, tmp_path: Path) -> None:
    """The first point of what the project promises to authors, in a folder of their own."""
    variables = alone.variables | CLOSED | {"HOME": str(tmp_path)}

    def typed(command: str, *args: str, cwd: Path = tmp_path) -> str:
        return run(str(alone.scripts / command), *args, cwd=cwd, env=variables)

    typed("gateway-plugin", "new", "acme", "--kind", kind, "--out", str(tmp_path / "out"))
    assert " passed" in typed("python", "-m", "pytest", "-q", cwd=tmp_path / "out")
    with pytest.raises(pytest.fail.Exception, match="No module named 'gateway'"):
        typed("python", "-c", "import gateway")


def test_the_tutorial_ends_in_a_working_plugin(alone: Environment, tmp_path: Path) -> None:
    """Word by word, in an empty folder."""
    folder = tmp_path / "empty"
    folder.mkdir()
    reader = Walkthrough(ROOT / "docs" / "tutorial.md", folder, alone.variables | CLOSED | {"HOME": str(tmp_path)})
    reader.follow()
    assert len(reader.typed) > 10
    assert reader.changed > 10
    assert reader.folder == folder / "corkboard"
