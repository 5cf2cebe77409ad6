"""Writes the reference out of the code: `python -m gateway_schemas.authoring.reference docs [--check]`.

    docs/plugins.md               every installed plugin with what it can do, from its class
    docs/reference/contract.md    hooks, base classes, models, errors and helpers
    docs/reference/testing.md     the kit's classes, adapters, fixtures and twins
    docs/reference/quality.md     the quality list
    docs/kit/*.md                 what the kit checks

With `--check` nothing is written, and the exit status is 1 when something is not what would be written.
"""

from __future__ import annotations

import argparse
import importlib
import pkgutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import gateway_schemas
from gateway_schemas.authoring import report as _  # noqa: F401  (its rules put themselves on the list)
from gateway_schemas.authoring.reference_code import module_page
from gateway_schemas.authoring.reference_plugins import plugins_page
from gateway_schemas.authoring.rules import LEVELS, RULES

COMMAND = "python -m gateway_schemas.authoring.reference docs"
ELSEWHERE = {"reference/scopes.md"}
"""Pages of the reference that the gateway writes, about itself."""
_CONTRACT: dict[str, tuple[str, ...]] = {
    "Hooks": ("hookspecs",),
    "What a plugin subclasses": ("plugin", "source", "helpdesk", "policy", "enricher", "reading"),
    "What a plugin declares": ("capabilities", "limits", "oauth"),
    "What comes in": ("webhook", "interaction"),
    "What goes out": ("reply",),
    "Tickets": ("ticket",),
    "Decisions": ("decision",),
    "What a plugin raises": ("errors",),
    "What a plugin borrows": ("http", "signatures", "text", "markup", "length", "urls", "files", "time", "remembered"),
}
_INSIDE = {"base", "generate", "conditions_check", "conditions_parse"}
"""Modules of the contract that no plugin imports."""
_TESTING: dict[str, tuple[str, ...]] = {
    "The kit": (
        *("testing.plugin_contract", "testing.source_contract", "testing.helpdesk_contract"),
        "testing.policy_contract",
    ),
    "Adapters": ("testing.adapters",),
    "Fixtures": ("testing.recordings", "testing.policy_recordings", "testing.fixtures", "testing.goldens"),
    "Twins": ("testing.twin", "testing.twin_faults", "testing.twin_page", "testing.rehearsal", "testing.in_process"),
    "Time and cases": ("testing.clock", "testing.policies"),
}


def pages() -> Iterator[tuple[str, str]]:
    """Every page of the reference: its path below the folder, and its text."""
    yield "plugins.md", _note() + plugins_page()
    yield "reference/contract.md", _note() + _chapters("The contract", {**_CONTRACT, "What else there is": _others()})
    yield "reference/testing.md", _note() + _chapters("Testing a plugin", _TESTING)
    yield "reference/quality.md", _note() + quality_page()
    from gateway_schemas.testing.faults import page_of

    for kind in ("source", "helpdesk", "policy"):
        yield f"kit/{kind}.md", page_of(kind)


def quality_page() -> str:
    """The quality list, by level."""
    lines = [
        "# The quality list",
        "",
        "`gateway-plugin check DIR` reads a plugin's folder, runs its contract tests and says which level it has. A",
        "plugin has a level when it passes every rule of that level and of those below. What it says is kept in the",
        "plugin's `quality.json` (`--write`). A rule that cannot fit is exempt with a reason, where it says so:",
        "",
        "```toml",
        "[tool.helpdesk-gateway.exempt]",
        'budgets_declared = "the provider documents no limits"',
        "```",
        "",
    ]
    for level, promise in LEVELS.items():
        lines += [f"## {level.capitalize()}", "", promise, ""]
        for rule in RULES.values():
            if rule.level == level:
                about = "every plugin" if len(rule.roles) > 4 else " and ".join(sorted(rule.roles)) + " plugins"
                exempt = "; may be exempt" if rule.exemptible else ""
                lines += [f'### <a id="{rule.id}"></a>{rule.title}', "", f"`{rule.id}`, for {about}{exempt}.", ""]
                lines += [rule.why, ""]
    return "\n".join(lines)


def drift(folder: Path) -> list[str]:
    """The pages that are missing or not what would be written, and those that nothing writes any more."""
    wanted = dict(pages())
    found = []
    for path, text in wanted.items():
        file = folder / path
        if not file.is_file():
            found.append(f"missing: {path}")
        elif file.read_text("utf-8") != text:
            found.append(f"not what the code says: {path}")
    stale = [path for part in ("reference", "kit") for path in sorted((folder / part).glob("*.md"))]
    known = wanted.keys() | ELSEWHERE
    return found + [f"nothing writes it: {name}" for path in stale if (name := _below(path, folder)) not in known]


def write(folder: Path) -> int:
    """Write every page; how many there are."""
    wanted = dict(pages())
    for path, text in wanted.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, "utf-8")
    return len(wanted)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m gateway_schemas.authoring.reference")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when a page is not up to date")
    parser.add_argument("folder", type=Path, metavar="DIR", help="where the documentation lies: docs")
    options = parser.parse_args(arguments)
    if not options.check:
        print(f"{write(options.folder)} pages in {options.folder}")
        return 0
    found = drift(options.folder)
    for line in found:
        print(line, file=sys.stderr)
    if found:
        print(f"run: {COMMAND}", file=sys.stderr)
    return 1 if found else 0


def _chapters(title: str, chapters: dict[str, tuple[str, ...]]) -> str:
    parts = [f"# {title}", ""]
    for chapter, modules in chapters.items():
        parts += [f"## {chapter}", ""]
        for name in modules:
            module = importlib.import_module(f"gateway_schemas.{name}")
            parts.append(module_page(module))
    return "\n".join(parts)


def _others() -> tuple[str, ...]:
    """The modules of the contract that no chapter names yet."""
    named = {name for modules in _CONTRACT.values() for name in modules} | _INSIDE
    found = [module.name for module in pkgutil.iter_modules(gateway_schemas.__path__) if not module.ispkg]
    return tuple(sorted(set(found) - named))


def _note() -> str:
    return f"<!-- written by `{COMMAND}`; do not edit -->\n"


def _below(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix()


if __name__ == "__main__":
    sys.exit(main())
