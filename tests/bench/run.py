"""`make bench`: each figure as a ratio to a floor measured in the same run, because machines differ and are noisy.

`--row latency` measures one row, or several when given more than once; what belongs to one set-up is measured together.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import json
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench import accept, backlog, clocks, drain, latency, policies
from bench.figures import Figure
from bench.ground import Ground
from gateway.db.embedded import EmbeddedPostgres

Measure = Callable[[Ground], Awaitable[list[Figure]]]


def chosen(rows: set[str]) -> list[Measure]:
    """What to run for these rows, in the order of the table."""
    measures: list[Measure] = []
    if "accept" in rows:
        measures.append(accept.measure)
    if rows & set(drain.ROWS):
        measures.append(functools.partial(drain.measure, rows=rows))
    if rows & set(latency.ROWS):
        measures.append(functools.partial(latency.measure, under_drain="latency under drain" in rows))
    if rows & set(backlog.ROWS):
        measures.append(functools.partial(backlog.measure, rows=rows))
    if rows & set(clocks.ROWS):
        measures.append(clocks.measure)
    if rows & set(policies.ROWS):
        measures.append(policies.measure)
    return measures


ROWS = (*accept.ROWS, *drain.ROWS, *latency.ROWS, *backlog.ROWS, *clocks.ROWS, *policies.ROWS)


async def measure(ground: Ground, rows: set[str], console: Console) -> list[Figure]:
    """Every chosen row, one after the other."""
    figures: list[Figure] = []
    for one in chosen(rows):
        began = time.perf_counter()
        found = [figure for figure in await one(ground) if figure.row in rows]
        console.print(f"{', '.join(figure.row for figure in found)}: measured in {time.perf_counter() - began:.0f} s")
        figures += found
    return figures


def main() -> int:
    """Run, print the table, and the JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--row", action="append", choices=ROWS, help="measure this row only; may be repeated")
    parser.add_argument("--size", type=int, default=6000, help="webhooks in all, for the door and for a drain")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of a row and its floor in turn")
    parser.add_argument("--tickets", type=int, default=1_000_000, help="tickets stored for the row `scale`")
    parser.add_argument("--backlog", type=int, default=10_000, help="changes waiting for the helpdesk in the last rows")
    parser.add_argument("--json", help="write the figures here; - for standard output")
    options = parser.parse_args()
    console = Console(stderr=True)
    with tempfile.TemporaryDirectory(prefix="helpdesk-gateway-bench-") as name:
        folder = Path(name)
        with EmbeddedPostgres(folder) as postgres:
            ground = Ground(postgres, folder, options.size, options.rounds, options.tickets, options.backlog)
            figures = asyncio.run(measure(ground, set(options.row or ROWS), console))
    table = Table("row", "measured", "floor", "ratio", "budget", "")
    for one in figures:
        ratio = "" if one.ratio is None else str(one.ratio)
        table.add_row(one.row, one.measured, one.floor, ratio, one.budget, "met" if one.met else "MISSED")
    console.print(table)
    text = json.dumps({figure.row: figure.document() for figure in figures}, indent=2)
    if options.json == "-":
        sys.stdout.write(text + "\n")
    elif options.json:
        Path(options.json).write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
