"""The commands for authors are the same with the gateway installed: handed on with everything that was typed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gateway.cli import app


def gateway(*arguments: str, code: int = 0) -> str:
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == code, done.output
    return done.output


def test_new_and_check(tmp_path: Path) -> None:
    assert "files in" in gateway("plugin", "new", "handed_on", "--kind", "policy", "--out", str(tmp_path))
    report = json.loads(gateway("plugin", "check", str(tmp_path), "--no-kit", "--json"))
    assert (report["level"], report["ok"], report["kit"]) == ("gold", True, None)
    (tmp_path / "gateway_handed_on" / "py.typed").unlink()
    assert "level: silver" in gateway("plugin", "check", str(tmp_path), "--no-kit", code=1)
    assert "level: silver" in gateway("plugin", "check", str(tmp_path), "--no-kit", "--level", "silver")
    assert "has no pyproject.toml" in gateway("plugin", "check", str(tmp_path / "gateway_handed_on"), code=1)


@pytest.mark.parametrize("command", [["plugin", "new"], ["plugin", "check"], ["plugin", "dev"], ["twin"]])
def test_help_names_the_command_as_it_was_typed(command: list[str]) -> None:
    assert gateway(*command, "--help").startswith(f"usage: gateway {' '.join(command)}")


def test_a_twin_that_is_missing_says_what_to_install() -> None:
    assert "install helpdesk-gateway-nope[twin]" in gateway("twin", "nope", code=1)
