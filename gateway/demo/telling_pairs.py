"""How `gateway demo --all-twins` is told in the terminal: a line when a conversation is through, then the table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from gateway.demo.pairs import Pair

OUTCOMES = {"published": "→ published", "refused": "↩ refused", "open": "→ ?"}

COLUMNS = {"source": 17, "helpdesk": 15, "complaint": None, "answer": None, "how long": 8}
"""With their widths; the others share what is left."""


class PairTeller:
    """Prints to one console."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def welcome(self) -> None:
        """Called first, while the stage is being set."""
        self._console.print(
            "[bold]Every installed source and helpdesk in one run.[/]\n"
            "All of them are simulated on this machine; the gateway between them is the real one, with a database of "
            "its own. Setting the stage …"
        )

    def curtain(self, seconds: float) -> None:
        """Called when the stage stands."""
        self._console.print(f"[dim]It stands after {seconds:.1f} s. Customers write on every channel at once.[/]\n")

    def show(self, pair: Pair) -> None:
        """Called when a conversation is through, or will not get through."""
        if pair.failure:
            self._console.print(f"  {pair.name}: {pair.failure}", style="red", markup=False)
        else:
            self._console.print(f"  {pair.name}: ticket {pair.ticket}, {pair.outcome}", markup=False)

    def reckoning(self, summary: Mapping[str, Any]) -> None:
        """The table, and whatever went wrong."""
        table = Table(
            title=f"There and back ({summary['elapsed_seconds']} s of yours)", title_justify="left", expand=True
        )
        for name, width in COLUMNS.items():
            table.add_column(name, no_wrap=True, overflow="ellipsis", width=width, ratio=None if width else 1)
        for pair in summary["pairs"]:
            table.add_row(
                f"{pair['source']}\n[dim]{escape(pair['channel'])}[/]",
                pair["helpdesk"],
                f"→ ticket {pair['ticket'] or '?'}\n[dim]{escape(pair['complaint'])}[/]",
                f"{OUTCOMES[pair['outcome']]}\n[dim]{escape(pair['answer'])}[/]",
                f"{_told(pair['to_ticket_seconds'])}\n{_told(pair['to_channel_seconds'])}",
            )
        self._console.print(table)
        self._console.print(
            f"{summary['conversations']} conversations, {summary['tickets']} tickets, {summary['replies_published']} "
            f"answers published, {summary['replies_failed']} refused because its channel takes none; "
            f"{summary['lost']} lost, {summary['duplicated']} duplicated. "
            "Times are the providers', most of which are asked every few minutes."
        )
        for problem in summary["problems"]:
            self._console.print(f"problem: {problem}", style="red", markup=False)
        if not summary["problems"]:
            self._console.print("[green]every conversation reached its ticket, and every answer its channel, once[/]")

    def invite(self, url: str, key: str, twins: Mapping[str, str]) -> None:
        """How to look around, for as long as the stage stands."""
        pages = "\n".join(f"  {name:16} {address}/_twin" for name, address in sorted(twins.items()))
        self._console.print(
            f"\nEverything goes on until Ctrl-C. What stands at each twin:\n{pages}\n"
            f"The gateway's API: {url}/docs, with the key {key}",
            markup=False,
        )


def _told(seconds: float | None) -> str:
    if seconds is None:
        return "–"
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
