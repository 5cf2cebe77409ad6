"""Each rule of the quality list can fail: a plugin that is right but for one thing fails that rule and no other."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from gateway_schemas.authoring.kit import KitRun
from gateway_schemas.authoring.package import NotAPlugin, Package
from gateway_schemas.authoring.report import evaluate
from gateway_schemas.authoring.rules import LEVELS, RULES
from gateway_schemas.authoring.scaffold import scaffold

_NUMBERS = count()


class Broken:
    """A new plugin to break. Each has a name of its own, because Python keeps what it imported."""

    def __init__(self, folder: Path, kind: str) -> None:
        self.name = f"broken_{next(_NUMBERS)}"
        self.folder = folder / self.name
        scaffold(self.name, kind, self.folder)
        self.code = self.folder / f"gateway_{self.name}"

    def change(self, path: str, old: str, new: str) -> None:
        """Replace a text that stands in a file once or more; `NAME` is the plugin's name."""
        file = self.folder / path.replace("NAME", self.name)
        before = file.read_text("utf-8")
        assert old.replace("NAME", self.name) in before, f"{path} has no {old!r}"
        file.write_text(before.replace(old.replace("NAME", self.name), new.replace("NAME", self.name)), "utf-8")

    def add(self, path: str, text: str) -> None:
        """Put something at the end of a file."""
        file = self.folder / path.replace("NAME", self.name)
        file.write_text((file.read_text("utf-8") if file.exists() else "") + text, "utf-8")

    def remove(self, path: str) -> None:
        """Remove a file or a folder."""
        file = self.folder / path.replace("NAME", self.name)
        shutil.rmtree(file) if file.is_dir() else file.unlink()


Break = Callable[[Broken], None]
PLUGIN, CONFIG, TWIN = "gateway_NAME/plugin.py", "gateway_NAME/config.py", "gateway_NAME/twin.py"
TOKEN = "    token: SecretStr"
LATER = '\ndef later() -> None:\n    """Later."""\n    '

BREAKS: dict[str, list[Break]] = {
    "imports_declared": [
        lambda it: it.add("gateway_NAME/more.py", '"""More."""\n\nimport gateway.runtime\n'),
        lambda it: it.add("gateway_NAME/more.py", '"""More."""\n\nfrom yaml import safe_load as read\n'),
        lambda it: it.add("gateway_NAME/api.py", "\nimport starlette.responses  # only twins may\n"),
        lambda it: it.add(
            "gateway_NAME/more.py", '"""More."""\n\nimport importlib\n\nX = importlib.import_module("yaml")\n'
        ),
    ],
    "no_client": [
        lambda it: it.change("gateway_NAME/api.py", "self._http = http", "self._http = httpx2.AsyncClient()"),
        lambda it: it.add("gateway_NAME/more.py", '"""More."""\n\nimport urllib.request\n'),
    ],
    "registers": [
        lambda it: it.change(PLUGIN, '    name: ClassVar[str] = "NAME"', '    name: ClassVar[str] = "other"'),
        lambda it: it.change(PLUGIN, "    def verify(", "    def verify_it("),
        lambda it: it.change(PLUGIN, "    title: ", "    contract: ClassVar[int] = 99\n    title: "),
    ],
    "contract_bounded": [
        lambda it: it.change("pyproject.toml", "schemas>=0.1,<0.2", "schemas"),
    ],
    "secrets_typed": [
        lambda it: it.change(CONFIG, TOKEN, f'    password: str = Field(default="", description="x")\n{TOKEN}'),
        lambda it: it.change(CONFIG, TOKEN, f'    old_tokens: list[str] = Field(default=[], description="x")\n{TOKEN}'),
    ],
    "readme": [
        lambda it: it.change("README.md", "## Limits", "## What it cannot do"),
    ],
    "contract_test": [
        lambda it: it.change("tests/test_NAME_contract.py", "(SourceContract)", "(object)"),
        lambda it: it.change("tests/test_NAME_contract.py", "    plugin = ", "    other = "),
    ],
    "fixture_for_every_event": [
        lambda it: it.change("pyproject.toml", '"comment_edited"', '"comment_edited", "comment_liked"'),
        lambda it: it.change(PLUGIN, 'frozenset({"comment"})', 'frozenset({"comment", "post"})'),
    ],
    "one_source_of_time": [
        lambda it: it.change(PLUGIN, "since = self.setup.time.now()", "since = datetime.now(UTC)"),
    ],
    "nothing_blocks": [
        lambda it: it.add("gateway_NAME/api.py", f"\n\nimport time\n\n{LATER}time.sleep(1)\n"),
    ],
    "no_broad_except": [
        lambda it: it.change("gateway_NAME/api.py", "except Malformed:", "except Exception:"),
        lambda it: it.change("gateway_NAME/api.py", "except Malformed:", "except:"),
    ],
    "nothing_at_import": [
        lambda it: it.add("gateway_NAME/api.py", "\n\nimport asyncio\n\nLOCK = asyncio.Lock()\n"),
    ],
    "finished": [
        lambda it: it.add("gateway_NAME/api.py", "\n# TO" + "DO: the rest\n"),
        lambda it: it.add("gateway_NAME/api.py", f"\n{LATER}raise NotImplementedError\n"),
    ],
    "sources_named": [
        lambda it: it.remove("fixtures/SOURCES.md"),
        lambda it: it.change("fixtures/SOURCES.md", "`poll_comments__*`", "`other__*`"),
    ],
    "fixture_bytes": [
        lambda it: it.remove("fixtures/.gitattributes"),
    ],
    "ships_twin": [
        lambda it: it.change("pyproject.toml", 'NAME = "gateway_NAME.twin:', 'other = "gateway_NAME.twin:'),
        lambda it: it.change("pyproject.toml", "schemas[testing]", "schemas"),
    ],
    "hosts_named": [
        lambda it: it.change(PLUGIN, "def hosts_of(", "def hosts("),
    ],
    "budgets_declared": [
        lambda it: it.change(PLUGIN, "= BUDGETS", "= ()"),
    ],
    "typed": [
        lambda it: it.remove("gateway_NAME/py.typed"),
        lambda it: it.change("gateway_NAME/api.py", "def delete(self, id: str)", "def delete(self, id)"),
        lambda it: it.change("gateway_NAME/api.py", "delete(self, id: str) -> None:", "delete(self, id: str):"),
    ],
    "described": [
        lambda it: it.change("gateway_NAME/api.py", '        """The accounts that the token belongs to."""\n', ""),
        lambda it: it.change(CONFIG, '    """One account of the brand."""\n\n', ""),
    ],
    "settings_described": [
        lambda it: it.change(CONFIG, "    history_days: int", "    silent: bool = False\n    history_days: int"),
    ],
    "limits_told": [
        lambda it: it.change("README.md", "500", "some"),
    ],
    "twin_plays": [
        lambda it: it.change(TWIN, '    actions = ("write",', '    deeds = ("write",'),
        lambda it: it.change(TWIN, '"account": ACCOUNT,\n            "token"', '"token"'),
        lambda it: it.change(TWIN, "def connection_config(self)", "def connection_config(self, who: str)"),
    ],
    "tests_named": [
        lambda it: it.add("tests/test_poll.py", '"""Polling."""\n'),
        lambda it: it.remove("tests"),
    ],
}


@pytest.fixture(autouse=True)
def path_restored() -> Iterator[None]:
    before = list(sys.path)
    yield
    sys.path[:] = before


@pytest.mark.parametrize(("rule", "number"), [(rule, n) for rule, breaks in BREAKS.items() for n in range(len(breaks))])
def test_a_plugin_that_breaks_one_rule_fails_it(rule: str, number: int, tmp_path: Path) -> None:
    broken = Broken(tmp_path, "source")
    BREAKS[rule][number](broken)
    report = evaluate(Package(broken.folder), None)
    failed = {one.rule.id for one in report.outcomes if one.state == "fail"}
    assert rule in failed, report.as_text()
    also = {
        "registers": {"ships_twin", "tests_named"},
        "tests_named": {"contract_test"},
        "imports_declared": {"described"},
        "twin_plays": set[str](),
    }
    assert failed - {rule} <= also.get(rule, set()), report.as_text()
    assert not report.ok
    order = list(LEVELS)
    below = order.index(RULES[rule].level)
    assert report.level == (order[below - 1] if below else None) or failed != {rule}


def test_every_rule_has_a_plugin_that_breaks_it() -> None:
    assert set(BREAKS) | {"contract_passes"} == set(RULES)


def test_a_failing_kit_fails_the_plugin(tmp_path: Path) -> None:
    package = Package(Broken(tmp_path, "source").folder)
    assert evaluate(package, KitRun(passed=("TestIt::test_a",))).level == "gold"
    report = evaluate(package, KitRun(failed={"TestIt::test_edit_ignored": "edit_ignored: nothing is told\n  mend: …"}))
    assert (report.level, report.ok) == (None, False)
    assert "TestIt::test_edit_ignored: edit_ignored: nothing is told" in report.as_text()
    assert evaluate(package, KitRun(broken="no tests ran")).level is None


def test_a_rule_that_does_not_fit_is_exempt_with_its_reason(tmp_path: Path) -> None:
    broken = Broken(tmp_path, "source")
    broken.change(PLUGIN, "= BUDGETS", "= ()")
    broken.add("pyproject.toml", '\n[tool.helpdesk-gateway.exempt]\nbudgets_declared = "nobody knows them"\n')
    report = evaluate(Package(broken.folder), None)
    assert report.level == "gold"
    assert "exempt: nobody knows them" in report.as_text()
    assert '"budgets_declared": {\n      "exempt": "nobody knows them"\n    }' in report.carried()


def test_not_every_rule_can_be_exempt(tmp_path: Path) -> None:
    broken = Broken(tmp_path, "source")
    broken.change(PLUGIN, 'frozenset({"comment"})', 'frozenset({"comment", "post"})')
    exempt = 'fixture_for_every_event = "later"\nnonsense = "x"\n'
    broken.add("pyproject.toml", f"\n[tool.helpdesk-gateway.exempt]\n{exempt}")
    report = evaluate(Package(broken.folder), None)
    assert report.level is None
    assert "no rule fixture_for_every_event can be exempt" in report.as_text()
    assert "no rule nonsense can be exempt" in report.as_text()


@pytest.mark.parametrize(
    ("break_it", "says"),
    [
        (lambda it: it.remove("pyproject.toml"), "has no pyproject.toml"),
        (lambda it: it.add("pyproject.toml", "]["), "pyproject.toml: "),
        (lambda it: it.change("pyproject.toml", "helpdesk_gateway.plugins", "other"), "the host finds plugins by it"),
        (lambda it: it.change(PLUGIN, "import httpx2", "import no_such_module"), "No module named 'no_such_module'"),
        (lambda it: it.change(PLUGIN, "@hookimpl\n", ""), "registers nothing"),
    ],
)
def test_what_is_no_plugin_is_said(break_it: Break, says: str, tmp_path: Path) -> None:
    broken = Broken(tmp_path, "source")
    break_it(broken)
    with pytest.raises(NotAPlugin, match=re.escape(says)):
        evaluate(Package(broken.folder), None)
