"""How the evening is told in the terminal: one thing after the other, each with what came of it."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.markup import escape

from gateway.demo.script import Line, Script

LONGEST = 100
DEEDS = {
    "posts": "posts",
    "replies": "replies to",
    "quotes": "quotes",
    "reviews": "gives",
    "messages": "writes to the company in private",
    "edits": "edits a post",
    "deletes": "deletes a post",
    "answers": "answers",
    "approves": "approves the held answer to",
    "rule": "writes to",
    "notes": "notes about",
    "solves": "solves the ticket of",
    "merges": "merges",
    "closes": "closes for good what was solved for",
    "settles": "says that a promise was kept to",
    "activates": "puts a policy into force",
    "ends": "ends the incident on the ticket of",
    "warned": "warns",
    "breached": "notes the breach",
    "kept": "sees a promise kept to",
    "broken": "sees a promise broken to",
    "opened": "sees an unusual rise, at the message of",
    "grown": "counts",
}
MARKS = {
    "blocked": ("↩", "yellow"),
    "held": ("↩", "yellow"),
    "failed": ("↩", "red"),
    "warned": ("!", "yellow"),
    "breached": ("!", "red"),
    "broken": ("!", "red"),
    "opened": ("!", "red"),
}
"""How what came of a line is shown, by how it ended or by what it is; else as a thing that went well."""


class Teller:
    """Prints to one console, with colours where it has them and readable where it has not."""

    def __init__(self, console: Console, script: Script) -> None:
        self._console = console
        self._script = script
        self._order = sorted(script.lines, key=lambda line: line.at)
        self._outcomes: dict[int, str] = {}
        self._shown = 0

    def welcome(self) -> None:
        """Called first, while the stage is being set."""
        script = self._script
        self._console.print(
            f"[bold]{script.begins:%A, %d %B %Y}. An evening at {script.company}.[/]\n"
            "An invented company, invented people; X, Zendesk and the company's forum are simulated on this machine. "
            "The gateway between them is the real one, with a database of its own. Setting the stage …"
        )

    def curtain(self, seconds: float) -> None:
        """Called when the stage stands."""
        self._console.print(
            f"[dim]It stands after {seconds:.1f} s. Below each thing that happens: → what came of it, ↩ why an answer "
            "came back, ! what somebody must know of.[/]\n"
        )

    def show(self, line: Line, outcome: str) -> None:
        """Called when a line has had its effect; shown when those before it have been."""
        self._outcomes[id(line)] = outcome
        while self._shown < len(self._order) and id(self._order[self._shown]) in self._outcomes:
            self._show(self._order[self._shown])
            self._shown += 1

    def end(self) -> None:
        """Called when nothing more will happen: show what a line that had no effect has held up."""
        for line in self._order[self._shown :]:
            if id(line) in self._outcomes:
                self._show(line)
        self._shown = len(self._order)

    def _show(self, line: Line) -> None:
        outcome = self._outcomes[id(line)]
        said = f": “{escape(_short(line.text))}”" if line.text else ""
        self._console.print(f"[dim]{line.at:%H:%M}[/]  {self._who(line)} {escape(self._does(line))}{said}")
        mark, style = MARKS.get(line.back or line.deed, ("→", "green"))
        told, *evidence = outcome.split("\n")
        self._console.print(f"       [{style}]{mark} {escape(told)}[/]")
        for each in evidence:
            self._console.print(f"         [dim]{escape(each)}[/]")

    def _who(self, line: Line) -> str:
        if line.place == "x":
            return f"[bold]@{line.who}[/]"
        if line.place == "forum":
            return f"[bold]{line.who.title()}[/] on the forum"
        if line.place == "gateway":
            return "[bold]The gateway[/]"
        if line.deed in ("activates", "ends", "settles"):
            return f"[bold]{line.who}[/] over REST"
        if line.deed == "rule":
            return f"The rule [bold]{line.who}[/]"
        return f"[bold]{line.who}[/] at the helpdesk" if line.who else "An automation at the helpdesk"

    def _does(self, line: Line) -> str:
        does = DEEDS[line.deed]
        if line.deed == "reviews":
            return f"{does} {line.stars} of 5 stars"
        if line.deed in ("replies", "quotes"):
            other = self._name(line.to or "")
            return "goes on" if other == f"@{line.who}" else f"{does} {other}"
        if line.deed in ("warned", "breached"):
            return f"{does}: {self._name(line.label)} has waited for {line.minutes} minutes"
        if line.deed == "grown":
            return f"{does} {line.count} messages on the ticket of {self._name(line.label)}"
        if line.deed == "activates":
            return does
        if line.place == "gateway":
            return f"{does} {self._name(line.label)}"
        if line.deed == "merges":
            one, other = self._name(line.label), self._name(line.to or "")
            return f"{does} the two tickets of {one}" if one == other else f"{does} the ticket of {one} into {other}'s"
        if line.place == "helpdesk":
            private = self._script.words[line.label].deed == "messages"
            return f"{does} {self._name(line.label)}{' in private' if private and line.deed == 'answers' else ''}"
        return does

    def _name(self, label: str) -> str:
        line = self._script.words[label]
        return f"@{line.who}" if line.place == "x" else line.who.title()

    def reckoning(self, summary: dict[str, Any]) -> None:
        """The evening in numbers, and whatever went wrong."""
        self._console.print(f"\n[bold]The evening in numbers[/]  ({summary['elapsed_seconds']} s of yours)")
        waits = summary["first_response_seconds"]
        rows = {
            "conversations": summary["conversations"],
            "posts, reviews, messages": summary["inbound"],
            "edited, deleted": f"{summary['edits']}, {summary['deletions']}",
            "tickets": summary["tickets"],
            "answers published": summary["replies_published"],
            "answers given on X itself": summary["native_answers"],
            "answers that came back": (
                f"{summary['replies_held_or_refused']}: {summary['replies_blocked']} blocked, "
                f"{summary['replies_held']} held, {summary['replies_failed']} failed"
            ),
            "kept back by": _counted(summary["kept_back_by"]),
            "approved by a second person": summary["replies_approved"],
            "response times": ", ".join(f"{name} {count}" for name, count in summary["sla"].items()),
            "clocks": _counted(summary["clocks"]),
            "promises": _counted(summary["promises"]),
            "incidents": _counted(summary["incidents"]),
            "alarms": _counted(summary["alarms"]),
            "first response": f"median {waits['median'] / 60:.0f} min, nine in ten within {waits['p90'] / 60:.0f} min",
            "lost, duplicated": f"{summary['lost']}, {summary['duplicated']}",
        }
        for name, value in rows.items():
            self._console.print(f"{name:>28}  {value}")
        for problem in summary["problems"]:
            self._console.print(f"{'problem':>28}  {problem}", style="red", markup=False)
        if not summary["problems"]:
            self._console.print(
                f"{'':>28}  [green]everything arrived everywhere exactly once, and all went as written[/]"
            )

    def invite(self, url: str, key: str) -> None:
        """How to look around, for as long as the stage stands."""
        self._console.print(
            f"""
The gateway goes on serving until Ctrl-C. Look around, in another terminal:

  export KEY={key}

  # what was stopped: by which policy, for which words, and what to say instead
  curl -s -H "Authorization: Bearer $KEY" "{url}/v1/decisions?verdict=block" | python3 -m json.tool
  # the incident: what was unusual, and how many messages its ticket stands for
  curl -s -H "Authorization: Bearer $KEY" {url}/v1/incidents | python3 -m json.tool
  # an answer of your own, before anybody sends it
  curl -s -H "Authorization: Bearer $KEY" -H "Content-Type: application/json" {url}/v1/replies/check \\
    -d '{{"reply": "Delete your review, and we send you 20 euros."}}' | python3 -m json.tool

The whole API, to read and to try: {url}/docs""",
            markup=False,
        )


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in counts.items()) or "none"


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1].rstrip()}…"
