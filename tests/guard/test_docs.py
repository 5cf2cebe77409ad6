"""The documentation is what the code says, and its links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gateway.api import event_docs
from gateway_schemas.authoring import reference
from gateway_schemas.authoring.reference_plugins import installed
from gateway_schemas.authoring.rules import RULES
from gateway_schemas.hookspecs import PROJECT
from support.repository import PLUGINS, ROOT

DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))


def test_reference_is_what_the_code_says() -> None:
    found = reference.drift(DOCS)
    assert not found, "\n".join([*found, f"run: {reference.COMMAND}"])


def test_drift_is_noticed(tmp_path: Path) -> None:
    """The check can fail: a page that was edited, one that is missing, one that nothing writes."""
    reference.write(tmp_path)
    assert reference.drift(tmp_path) == []
    (tmp_path / "plugins.md").write_text("edited", "utf-8")
    (tmp_path / "kit" / "source.md").unlink()
    (tmp_path / "kit" / "stream.md").write_text("old", "utf-8")
    assert reference.drift(tmp_path) == [
        "not what the code says: plugins.md",
        "missing: kit/source.md",
        "nothing writes it: kit/stream.md",
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(DOCS).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.DOTALL)
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#\s]*)(?:#([^)]+))?\)", text):
        path = (page.parent / target).resolve() if target else page
        assert path.exists(), f"{page.name} links to {target}"
        if anchor and path.suffix == ".md":
            there = path.read_text("utf-8")
            assert f'id="{anchor}"' in there or _heading(anchor, there), f"{page.name} links to {target}#{anchor}"


def test_everything_that_is_registered_is_documented() -> None:
    """Hooks, classes, rules and plugins: what the pages are written from is all there is."""
    contract = (DOCS / "reference" / "contract.md").read_text("utf-8")
    hooks = [name for name in dir(_hookspecs()) if getattr(getattr(_hookspecs(), name), f"{PROJECT}_spec", None)]
    assert len(hooks) >= 5
    assert [name for name in hooks if f"#### `{name}(" not in contract] == []
    quality = (DOCS / "reference" / "quality.md").read_text("utf-8")
    assert [rule for rule in RULES if f'id="{rule}"' not in quality] == []
    table = (DOCS / "plugins.md").read_text("utf-8")
    assert [one.name for one in installed() if f"`{one.name}`" not in table] == []
    assert len({one.cls.__module__.partition(".")[0] for one in installed()}) == len(PLUGINS)


def _hookspecs() -> object:
    from gateway_schemas import hookspecs

    return hookspecs


def _heading(anchor: str, text: str) -> bool:
    slugs = (re.sub(r"[^\w\- ]", "", line.lstrip("#").strip().lower()).replace(" ", "-") for line in text.splitlines())
    return anchor in slugs


def test_events_are_what_the_code_says(tmp_path: Path) -> None:
    if event_docs.main(["--check", str(DOCS / "events.md")]) != 0:
        pytest.fail("run from the repository's root: python -m gateway.api.event_docs docs/events.md")
    stale = tmp_path / "events.md"
    stale.write_text(event_docs.render().replace("reply.held", "reply.stopped"), "utf-8")
    assert event_docs.main(["--check", str(stale)]) == 1
