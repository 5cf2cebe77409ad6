"""The command `gateway-plugin`, and with the gateway installed `gateway plugin` and `gateway twin`."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from gateway_schemas.authoring import kit
from gateway_schemas.authoring.dev import watch
from gateway_schemas.authoring.package import NotAPlugin, Package
from gateway_schemas.authoring.report import FILE, evaluate
from gateway_schemas.authoring.rules import LEVELS
from gateway_schemas.authoring.scaffold import KINDS, BadName, scaffold


def main(arguments: Sequence[str] | None = None, *, prog: str = "gateway-plugin") -> int:
    """Run one command; returns the exit status."""
    options = _parser(prog).parse_args(arguments)
    run = options.run
    status: int = run(options)
    return status


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=prog, description="For authors of plugins of the helpdesk gateway.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    twin = commands.add_parser("twin", help="run an installed plugin's twin by itself")
    twin.add_argument("name", metavar="NAME", help="the plugin's name, such as zendesk")
    twin.add_argument("--port", type=int, default=9001, help="where on this machine (default 9001; 0 for any)")
    twin.add_argument("--seed", type=int, default=0, help="of everything random, faults too")
    twin.add_argument("--faults", type=float, default=0.0, metavar="SHARE", help="strike this share of requests")
    twin.set_defaults(run=_twin)

    new = commands.add_parser("new", help="write a plugin that passes its tests at once")
    new.add_argument("name", metavar="NAME", help="small letters, digits and underscores, such as my_forum")
    new.add_argument("--kind", choices=KINDS, required=True)
    new.add_argument("--out", metavar="DIR", type=Path, help="where to; default: a new folder of that name")
    new.set_defaults(run=_new)

    check = commands.add_parser("check", help="run the conformance kit and the quality rules on a plugin's folder")
    check.add_argument("folder", metavar="DIR", type=Path, nargs="?", default=Path(), help="default: this folder")
    check.add_argument("--json", action="store_true", help="print the report as one JSON object")
    check.add_argument("--no-kit", action="store_true", help="only the rules; the contract tests are run otherwise")
    check.add_argument("--write", action="store_true", help=f"write {FILE}, which the plugin carries")
    check.add_argument("--level", choices=list(LEVELS), help="the level that it must have; default: every rule")
    check.set_defaults(run=_check)

    dev = commands.add_parser("dev", help="run a plugin against its twin, anew at every change of its files")
    dev.add_argument("folder", metavar="DIR", type=Path, nargs="?", default=Path(), help="default: this folder")
    dev.add_argument("--port", type=int, default=9001, help="where the twin's page is (default 9001; 0 for any)")
    dev.set_defaults(run=_dev)
    return parser


def _dev(options: argparse.Namespace) -> int:
    return watch(options.folder.resolve(), options.port)


def _new(options: argparse.Namespace) -> int:
    folder: Path = options.out if options.out is not None else Path(options.name)
    try:
        made = scaffold(options.name, options.kind, folder)
    except (BadName, FileExistsError, NotADirectoryError) as error:
        return _failed(error)
    print(f"{len(made)} files in {folder}. Next:\n\n  cd {folder}\n  pytest\n  gateway-plugin check")
    return 0


def _check(options: argparse.Namespace) -> int:
    package = Package(options.folder.resolve())
    if options.write and options.no_kit:
        return _failed(f"{FILE} says how the kit went: leave out --no-kit")
    try:
        report = evaluate(package, None if options.no_kit else kit.run(package))
    except NotAPlugin as error:
        return _failed(error)
    print(json.dumps(report.as_json(), indent=2, ensure_ascii=False) if options.json else report.as_text())
    if options.write:
        (package.folder / FILE).write_text(report.carried(), "utf-8")
    if options.level is None:
        return 0 if report.ok else 1
    return 0 if report.has(options.level) else 1


def _twin(options: argparse.Namespace) -> int:
    from gateway_schemas.authoring.twins import TwinMissing, run

    try:
        asyncio.run(run(options.name, port=options.port, seed=options.seed, faults=options.faults))
    except TwinMissing as error:
        return _failed(error)
    except OSError as error:
        return _failed(f"cannot listen on port {options.port}: {error.strerror or error}")
    return 0


def _failed(reason: object) -> int:
    print(reason, file=sys.stderr)
    return 1
