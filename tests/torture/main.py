"""The command: seeds, pairs, progress, totals."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import json
import logging
import socket
import ssl
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import uvicorn
from starlette.applications import Starlette
from starlette.routing import Route

from gateway.api import door
from gateway.files.store import Files
from gateway.registry import Registry
from gateway.security.root_keys import ensure_root_key
from gateway.security.vault import Vault
from support.gateway import settings_for, template
from support.postgres import clone_database, drop_database, shared_server
from torture import machine
from torture.bugs.hunt import hunt_all
from torture.machine import CLOCK
from torture.schedule import HARM, Result, Schedule
from torture.stage import PAIRS
from torture.story import STEPS
from torture.workers import Boundaries, BoundedDatabase, Common, scratch

CLOCK_SQL = """
CREATE SCHEMA torture;
CREATE UNLOGGED TABLE torture.machine_time (at timestamptz NOT NULL);
INSERT INTO torture.machine_time VALUES ('2026-03-02 09:00+00');
CREATE FUNCTION torture.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE
    AS 'SELECT at FROM torture.machine_time';
CREATE FUNCTION torture.now() RETURNS timestamptz LANGUAGE sql STABLE AS 'SELECT at FROM torture.machine_time';
"""
"""The database's clock is the machine's: its own functions of these names stand behind ours on the search path."""


@contextlib.asynccontextmanager
async def installation(server: str, folder: Path, loop: machine.Loop) -> AsyncIterator[tuple[Common, door.Door, str]]:
    """One database and one door for all schedules of this process."""
    url = await clone_database(server, await template(server))
    try:
        with psycopg.connect(url, autocommit=True) as connection:
            name = connection.info.dbname
            connection.execute(CLOCK_SQL)
            connection.execute(f'ALTER DATABASE "{name}" SET search_path = torture, pg_catalog, public')  # type: ignore[call-overload]
            connection.execute(f'ALTER DATABASE "{name}" SET synchronous_commit = off')  # type: ignore[call-overload]
        settings = settings_for(url, scratch(folder), call_timeout=3.0, lease_seconds=3.0)
        boundaries = Boundaries()
        database = BoundedDatabase(url, boundaries)
        common = Common(
            settings,
            database,
            Registry.load(),
            Vault.open(settings),
            Files.open(settings),
            boundaries,
            loop,
            lambda name: None,
            ssl.create_default_context(),
        )
        await ensure_root_key(database, common.vault, datetime.now(UTC))
        the_door = door.Door()
        listener = socket.create_server(("127.0.0.1", 0))
        app = Starlette(routes=[Route(door.PATH, the_door)])
        server_ = uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="off", timeout_keep_alive=60))
        server_.capture_signals = contextlib.nullcontext  # type: ignore[method-assign,assignment]
        serving = asyncio.create_task(server_.serve(sockets=[listener]))
        while not server_.started:
            await asyncio.sleep(0.005)
        try:
            yield common, the_door, f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server_.should_exit = True
            await serving
            listener.close()
            await database.close()
    finally:
        await drop_database(url)


def empty(database: BoundedDatabase) -> None:
    """Take all rows out, for the next schedule. Most tables have none, and emptying one makes new files for it.

    The audit log refuses, and the root keys are known to the vault: no schedule goes by either.
    """
    tables = database._clock.execute(
        """SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
           WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p') AND NOT c.relispartition
             AND c.relname NOT LIKE 'procrastinate%'
             AND c.relname NOT IN ('alembic_version', 'audit_entry', 'audit_pending', 'data_key')
             AND (pg_relation_size(c.oid) > 0
                  OR EXISTS (SELECT 1 FROM pg_partition_tree(c.oid) p WHERE pg_relation_size(p.relid) > 0))"""
    ).fetchall()
    names = ", ".join(f'public."{name}"' for (name,) in tables)
    if names:
        database._clock.execute(f"TRUNCATE {names} RESTART IDENTITY CASCADE")  # type: ignore[call-overload]


@dataclass(frozen=True)
class Case:
    """One schedule to run."""

    seed: int
    pair: str
    harm: tuple[str, ...] = ()
    """Done in any case, beside what the seed chooses."""
    steps: tuple[str, ...] = ()
    """What the people do in any case, after the rest of their story."""

    def __str__(self) -> str:
        return "/".join((str(self.seed), self.pair, ",".join(self.harm), ",".join(self.steps)))


async def run_one(case: Case, common: Common, the_door: door.Door, url: str) -> Result:
    """One schedule on an empty database."""
    CLOCK.begin(case.seed)
    common.database.forget_time()
    empty(common.database)
    common.boundaries.__init__()  # type: ignore[misc]
    return await Schedule(case.seed, case.pair, common, the_door, url, case.harm, case.steps).run()


def show(case: Case, result: Result) -> None:
    """A failure, as somebody needs it who wants to see it again."""
    print(f"\nseed {case.seed} {case.pair} harm={','.join(result.harm) or 'none'} trace {result.digest}")
    for kind, what in result.findings.found:
        print(f"  {kind}: {what}")
    for line in result.story:
        print(f"    {line}")
    print(f"  again: make torture ARGS=\"--again '{case}'\"", flush=True)


def _words(text: str | None) -> tuple[str, ...]:
    return tuple(filter(None, (text or "").split(",")))


def _cases(options: argparse.Namespace) -> Iterator[Case]:
    if options.again:
        for one in options.again.split(";"):
            seed, pair, harm, steps = one.split("/")
            yield Case(int(seed), pair, _words(harm), _words(steps))
        return
    pairs, harm, steps = _words(options.pairs) or PAIRS, _words(options.harm), _words(options.steps)
    if options.seed is not None:
        yield from (Case(options.seed, pair, harm, steps) for pair in pairs)
        return
    for number in range(options.schedules):
        yield Case(options.first + number, pairs[number % len(pairs)], harm, steps)


async def run(options: argparse.Namespace, server: str) -> int:
    """All schedules; 1 when one failed."""
    cases = list(_cases(options))
    for name, given, known in (
        ("pairs", {one.pair for one in cases}, PAIRS),
        ("harm", {word for one in cases for word in one.harm}, HARM),
        ("steps", {word for one in cases for word in one.steps}, STEPS),
    ):
        if unknown := sorted(given - set(known)):
            print(f"--{name}: {', '.join(unknown)} is none of {', '.join(known)}", file=sys.stderr)
            return 2
    totals: Counter[str] = Counter()
    failed: list[tuple[Case, Result]] = []
    harm: Counter[str] = Counter()
    began, ran, steps = time.time(), 0, 0
    loop = asyncio.get_running_loop()
    assert isinstance(loop, machine.Loop)
    with tempfile.TemporaryDirectory() as folder:
        async with installation(server, Path(folder), loop) as (common, the_door, url):
            for case in cases:
                result = await run_one(case, common, the_door, url)
                if options.twice:
                    again = await run_one(case, common, the_door, url)
                    if again.trace != result.trace:
                        pairs_ = zip(result.trace, again.trace, strict=False)
                        other = next((one for one in pairs_ if one[0] != one[1]), ("its end", "its end"))
                        result.findings.add("not repeatable", f"{other[0]} became {other[1]}")
                ran, steps = ran + 1, steps + result.steps
                harm.update(result.counts)
                totals.update(result.findings.counts())
                if options.trace:
                    print("\n".join(result.trace))
                if result.findings.found:
                    failed.append((case, result))
                    if not options.json:
                        show(case, result)
                elif options.seed is not None and not options.json:
                    print(f"seed {case.seed} {case.pair}: clean, {result.steps} steps, trace {result.digest}")
                if options.stop and failed:
                    break
                if not options.json and ran % 50 == 0:
                    print(f"{ran} schedules, {len(failed)} failed, {time.time() - began:.0f} s", flush=True)
    seconds = time.time() - began
    summary = {
        "schedules": ran,
        "failed": len(failed),
        "steps": steps,
        "seconds": round(seconds, 1),
        "a_minute": round(ran / seconds * 60, 1),
        "harm": dict(sorted(harm.items())),
        "found": dict(sorted(totals.items())),
        "failures": [
            {
                "seed": case.seed,
                "pair": case.pair,
                "harm": one.harm,
                "found": one.findings.found,
                "trace": one.digest,
                "again": str(case),
            }
            for case, one in failed
        ],
    }
    if options.json:
        print(json.dumps(summary))
    else:
        print(
            f"\n{ran} schedules in {seconds:.0f} s ({summary['a_minute']} a minute), {steps} steps, "
            f"{len(failed)} failed"
        )
        print("harm done: " + (", ".join(f"{name} {count}" for name, count in sorted(harm.items())) or "none"))
        print("found: " + (", ".join(f"{name} {count}" for name, count in sorted(totals.items())) or "nothing wrong"))
    return 1 if failed else 0


def main() -> int:
    """Called by `make torture`. Exits 1 on any failure."""
    parser = argparse.ArgumentParser(prog="make torture", description=__doc__)
    parser.add_argument("--schedules", type=int, help="how many; 200, and with --bugs at most 30 for each")
    parser.add_argument("--first", type=int, default=1, help="the first seed")
    parser.add_argument("--seed", type=int, help="run this one again, on every pair or on --pairs")
    parser.add_argument(
        "--again", help="run just these again, given as SEED/PAIR/HARM/STEPS and separated by semicolons"
    )
    parser.add_argument("--pairs", help=f"some of {','.join(PAIRS)}")
    parser.add_argument("--harm", help="harm done in each schedule, beside what its seed chooses")
    parser.add_argument("--steps", help="what the people do in each schedule, after what its seed chooses")
    parser.add_argument("--bugs", action="store_true", help="look for the deliberate bugs instead")
    parser.add_argument("--only", action="append", default=[], help="with --bugs: those whose name has this in it")
    parser.add_argument("--json", action="store_true", help="one JSON object with the totals")
    parser.add_argument("--twice", action="store_true", help="run each twice: the same seed must go the same way")
    parser.add_argument("--trace", action="store_true", help="print every choice")
    parser.add_argument("--stop", action="store_true", help="end at the first failure")
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    gc.freeze()  # what is imported stays: looking through it again and again costs a tenth of the time
    if options.bugs:
        return hunt_all(options.schedules or 30, options.only, as_json=options.json)
    options.schedules = options.schedules or 200
    with shared_server() as server:
        code: int = machine.run(lambda: run(options, server))
    return code
