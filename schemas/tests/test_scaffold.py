"""New plugins: named rightly everywhere, complete, and never over what is there."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

from gateway_schemas.authoring.command import main
from gateway_schemas.authoring.package import Package
from gateway_schemas.authoring.report import evaluate
from gateway_schemas.authoring.scaffold import KINDS, BadName, names, rendered, scaffold


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["zebra", "my_forum", "a1"])
def test_the_name_stands_everywhere_and_the_templates_nowhere(kind: str, name: str) -> None:
    made = dict(rendered(name, kind))
    for path, content in made.items():
        text = content.decode("utf-8")
        assert "acme" not in path.lower() + text.lower(), path
        assert not path.endswith(".tmpl")
        if path.endswith(".py"):
            ast.parse(text)
            assert max(map(len, text.splitlines()), default=0) <= 120, path
    package = f"gateway_{name}"
    assert {"pyproject.toml", "README.md", ".gitignore", f"{package}/plugin.py", f"{package}/py.typed"} <= set(made)
    assert f'name = "helpdesk-gateway-{name.replace("_", "-")}"' in made["pyproject.toml"].decode()


@pytest.mark.parametrize("name", ["", "Acme", "9lives", "a__b", "_a", "a-b", "a.b", "../x", "class", "schemas", "ä"])
def test_bad_names_are_refused(name: str) -> None:
    with pytest.raises(BadName, match="small letters"):
        names(name)


def test_nothing_is_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "README.md").write_text("mine", "utf-8")
    with pytest.raises(FileExistsError, match=r"README\.md is there already"):
        scaffold("zebra", "source", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["README.md"]
    assert main(["new", "zebra", "--kind", "source", "--out", str(tmp_path)]) == 1
    assert "is there already" in capsys.readouterr().err
    assert main(["new", "Zebra", "--kind", "source", "--out", str(tmp_path / "new")]) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_the_check_finds_nothing_to_say(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The contract tests run with the wheels, outside of the checkout."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    scaffold(f"fresh_{kind}", kind, tmp_path)
    assert Package(tmp_path).import_name == f"gateway_fresh_{kind}"
    report = evaluate(Package(tmp_path), None)
    assert report.level == "gold", report.as_text()
    assert [one.role for one in report.package.registered] == [kind]
