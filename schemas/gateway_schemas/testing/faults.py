"""The faults that the conformance kit looks for in plugins: what each does to people, and how to mend it.

Each has a check of its name in the contract classes, `test_<name>`, and a place in the documentation under `docs/kit/`,
which `python -m gateway_schemas.testing.faults docs/kit` writes from this list.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from gateway_schemas.testing import faults_helpdesk, faults_policy, faults_shared, faults_source

FaultOf = Literal["source", "helpdesk", "policy"]


@dataclass(frozen=True)
class PluginFault:
    """One way a plugin goes wrong."""

    name: str
    of: tuple[FaultOf, ...]
    """The kinds of plugin that can have it."""
    what: str
    """What it does to customers, agents or the company."""
    mend: str

    @property
    def page(self) -> str:
        """Where the documentation speaks of it."""
        return f"see docs/kit/{self.of[0]}.md#{self.name}"


def _all() -> Iterator[PluginFault]:
    lists: tuple[tuple[tuple[FaultOf, ...], dict[str, tuple[str, str]]], ...] = (
        (("source", "helpdesk", "policy"), faults_shared.RECORDED),
        (("source", "helpdesk"), faults_shared.FAULTS),
        (("source",), faults_source.FAULTS),
        (("helpdesk",), faults_helpdesk.FAULTS),
        (("policy",), faults_policy.FAULTS),
    )
    for of, entries in lists:
        for name, (what, mend) in entries.items():
            yield PluginFault(name, of, what, mend)


FAULTS: dict[str, PluginFault] = {fault.name: fault for fault in _all()}
"""Every fault by name."""


def faults_of(kind: FaultOf) -> list[PluginFault]:
    """The faults that a plugin of this kind can have, in the order of the documentation."""
    return [fault for fault in FAULTS.values() if kind in fault.of]


def page_of(kind: FaultOf) -> str:
    """The documentation's page of one kind, in Markdown."""
    titles = {"source": "Source", "helpdesk": "Helpdesk", "policy": "Policy"}
    listed = faults_of(kind)
    lines = [
        f"# What the kit checks of a {kind}",
        "",
        f"`{titles[kind]}Contract` looks for these {len(listed)} faults. Each is a test named after it: "
        "`test_<fault>`. This page is written from the kit's own list; do not edit it.",
        "",
    ]
    for fault in listed:
        lines += [f'## <a id="{fault.name}"></a>{fault.name}', "", fault.what, "", f"**Mend:** {fault.mend}", ""]
    return "\n".join(lines)


def write_pages(folder: Path) -> None:
    """Write one page a kind into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for kind in ("source", "helpdesk", "policy"):
        (folder / f"{kind}.md").write_text(page_of(kind), "utf-8")


if __name__ == "__main__":
    write_pages(Path(sys.argv[1]))
