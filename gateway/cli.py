"""The command `gateway`."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import typer

from gateway.security.roles import Role
from gateway.settings import Settings
from gateway.tracing.logs import set_up as set_up_logs

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="The helpdesk integration gateway.", pretty_exceptions_enable=False
)
plugin_app = typer.Typer(no_args_is_help=True, help="Plugins of this installation.")
key_app = typer.Typer(no_args_is_help=True, help="API keys.")
Folder = Annotated[Path, typer.Argument(help="The folder of the configuration.", file_okay=False)]
Prune = Annotated[bool, typer.Option("--prune", help="Also remove what no file names.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")]
app.add_typer(plugin_app, name="plugin")
app.add_typer(key_app, name="key")
audit_app = typer.Typer(no_args_is_help=True, help="The audit log.")
app.add_typer(audit_app, name="audit")
erasures_app = typer.Typer(no_args_is_help=True, help="The log of erased people, kept outside the database.")
app.add_typer(erasures_app, name="erasures")
secrets_app = typer.Typer(no_args_is_help=True, help="The key that secrets are encrypted with.")
app.add_typer(secrets_app, name="secrets")


def _settings(*, sealing: bool = False, **given: Any) -> Settings:
    """Settings from the environment, with what the command line says on top. With `sealing` the command opens or seals
    secrets: without a key that is safe enough it ends here, with exit code 2 and what to do about it."""
    from pydantic import ValidationError

    from gateway.security.master_keys import VaultError, read_keys

    try:
        settings = Settings(**{name: value for name, value in given.items() if value is not None})
        if sealing:
            read_keys(settings)
    except ValidationError as error:
        for one in error.errors(include_input=False, include_url=False):
            place = "".join(f"GATEWAY_{str(part).upper()}: " for part in one["loc"][:1])
            typer.echo(place + one["msg"].removeprefix("Value error, "), err=True)
        raise typer.Exit(2) from None
    except VaultError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None
    set_up_logs(settings)
    return settings


def _run(main: Any) -> None:
    """Run on uvloop where it exists."""
    if sys.platform == "win32":
        asyncio.run(main)
        return
    import uvloop

    uvloop.run(main)


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on.")] = None,
    no_worker: Annotated[
        bool, typer.Option("--no-worker", help="Only the door and the REST API; run `gateway worker` apart.")
    ] = False,
) -> None:
    """Serve the providers' door and the REST API, and supervise worker processes."""
    from gateway.app import serve as run

    settings = _settings(sealing=True, host=host, port=port)
    _run(run(settings, workers=0 if no_worker else settings.workers))


@app.command()
def worker(
    supervised: Annotated[bool, typer.Option("--supervised", hidden=True)] = False,
) -> None:
    """Run one worker process against the same database."""
    from gateway.engine.worker import run_worker

    _run(run_worker(_settings(sealing=True), supervised=supervised))


@app.command()
def migrate() -> None:
    """Bring the database's schema up to date, then exit."""
    from gateway.db.embedded import EmbeddedPostgres
    from gateway.db.migrate import migrate as upgrade

    settings = _settings()
    if settings.database_url is not None:
        upgrade(settings.database_url.get_secret_value())
    else:
        with EmbeddedPostgres(settings.data_dir) as postgres:
            upgrade(postgres.url)
    typer.echo("The schema is up to date.")


@app.command("backup")
def back_up(
    file: Annotated[Path, typer.Argument(help="The backup to write; it must not exist.")],
    files: Annotated[bool, typer.Option(help="Include copies of attachments where they are in a folder.")] = True,
) -> None:
    """Write a backup of the installation, which goes on working meanwhile. The secret key is not in it."""
    from gateway.backup import BackupError, backup

    try:
        made = backup(_settings(), file, files=files)
    except BackupError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None
    typer.echo(f"{file}: as of {made.taken_at:%Y-%m-%d %H:%M:%S} UTC, with {made.files} files.")
    if made.elsewhere:
        typer.echo("Copies of attachments are not in it: back up their store as well.")
    if made.missing:
        typer.echo(f"{made.missing} copies of attachments were not in their store.", err=True)
    typer.echo(
        "Keep the secret key (GATEWAY_SECRET_KEY or secret.key) elsewhere: without it the backup opens for nobody."
    )


@app.command("restore")
def restore_backup(
    file: Annotated[Path, typer.Argument(help="A backup.", exists=True, dir_okay=False)],
    erasures: Annotated[
        Path | None,
        typer.Option(help="The newest export of the erasure log: who is in it is erased again.", exists=True),
    ] = None,
    no_erasures: Annotated[
        bool, typer.Option("--no-erasures", help="Nobody was erased since the backup was made.")
    ] = False,
) -> None:
    """Make an installation of a backup, in a new data folder or an empty database. Stop the lost one first."""
    from gateway.backup import BackupError, restore
    from gateway.privacy.log import LogUnreadable

    if (erasures is None) != no_erasures:
        raise typer.BadParameter("give the erasure log, or --no-erasures if nobody was erased", param_hint="--erasures")
    try:
        made, applied = restore(_settings(), file, erasures=erasures)
    except (BackupError, LogUnreadable) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None
    typer.echo(f"Restored as of {made.taken_at:%Y-%m-%d %H:%M:%S} UTC; {applied} people were erased again.")


@erasures_app.command("export")
def erasures_export(
    file: Annotated[Path, typer.Argument(help="The file to write; one of that name is replaced.")],
) -> None:
    """Write the erasure log to a file that outlives the database. It holds keyed hashes and times alone."""
    from gateway.privacy.log import export_from_command_line

    typer.echo(f"{asyncio.run(export_from_command_line(_settings(), file))} tombstones")


@erasures_app.command("apply")
def erasures_apply(
    file: Annotated[Path, typer.Argument(help="An exported erasure log.", exists=True, dir_okay=False)],
) -> None:
    """Erase again who is in the log: after a restore without it, or in an installation beside this one."""
    from gateway.privacy.log import LogUnreadable, apply_from_command_line

    try:
        found = asyncio.run(apply_from_command_line(_settings(), file))
    except LogUnreadable as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None
    typer.echo(f"{found} people were erased again")


@app.command()
def plan(folder: Folder, prune: Prune = False, as_json: AsJson = False) -> None:
    """Show what applying the files of a folder would change. Exit code 0: nothing, 2: something, 1: the files cannot
    be applied."""
    from gateway.configuration.command import run_plan

    raise typer.Exit(asyncio.run(run_plan(_settings(sealing=True), folder, prune=prune, as_json=as_json)))


@app.command("apply")
def apply_files(
    folder: Folder,
    reason: Annotated[str, typer.Option(help="Why; needed where policies or lists change.")] = "",
    prune: Prune = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show the plan, as `gateway plan` does.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Apply without asking.")] = False,
    digest: Annotated[str | None, typer.Option(help="Apply only if the plan is still the one of this digest.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show what the files of a folder would change, ask, and apply all of it or nothing. Exit code 0: applied or
    nothing to do, 2: not applied, 1: it cannot be applied."""
    from gateway.configuration.command import Wish, run_apply, run_plan

    settings = _settings(sealing=True)
    if dry_run:
        raise typer.Exit(asyncio.run(run_plan(settings, folder, prune=prune, as_json=as_json)))
    wish = Wish(folder, prune=prune, reason=reason, yes=yes, digest=digest, as_json=as_json)
    raise typer.Exit(asyncio.run(run_apply(settings, wish)))


@app.command("export")
def export_files(
    folder: Folder,
    prune: Annotated[bool, typer.Option("--prune", help="Also remove files of what is not there (any more).")] = False,
) -> None:
    """Write brands, Apps, connections (without secrets), calendars, lists and policies to files of a folder."""
    from gateway.configuration.command import run_export

    raise typer.Exit(asyncio.run(run_export(_settings(sealing=True), folder, prune=prune)))


@app.command()
def demo(
    once: Annotated[bool, typer.Option("--once", help="End when the evening is over.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the summary as one JSON object on standard output.")
    ] = False,
    speed: Annotated[float | None, typer.Option(help="Virtual seconds per real second.")] = None,
    all_twins: Annotated[
        bool,
        typer.Option(
            "--all-twins", help="Instead of the evening, one conversation on every installed source and helpdesk."
        ),
    ] = False,
) -> None:
    """Play an evening of a fictional company through the gateway, on this machine alone."""
    from gateway.demo.main import run_demo

    raise typer.Exit(asyncio.run(run_demo(once=once, as_json=as_json, speed=speed, all_twins=all_twins)))


@app.command()
def replay(
    file: Annotated[Path, typer.Argument(help="Conversations as JSON Lines.", exists=True, dir_okay=False)],
    speed: Annotated[
        float | None, typer.Option(help="Virtual seconds per real second; without it, as fast as it can.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the summary as one JSON object on standard output.")
    ] = False,
    limit: Annotated[int | None, typer.Option(help="Play only the first so many conversations.")] = None,
    duplicate: Annotated[float, typer.Option(help="Share of webhooks delivered twice.")] = 0.0,
    shuffle: Annotated[float, typer.Option(help="Delay webhooks by up to so many seconds, at random.")] = 0.0,
    kill: Annotated[int, typer.Option(help="Kill the gateway's processes so many times at random moments.")] = 0,
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 1,
    policies: Annotated[
        bool,
        typer.Option(help="Let the shipped policies watch in shadow, and decide everything once more at the end."),
    ] = False,
) -> None:
    """Play recorded conversations, customers and agents, through the X twin and the Zendesk twin."""
    from gateway.demo.replay import run_replay

    raise typer.Exit(
        asyncio.run(
            run_replay(
                file,
                speed=speed,
                as_json=as_json,
                limit=limit,
                duplicate=duplicate,
                shuffle=shuffle,
                kills=kill,
                seed=seed,
                policies=policies,
            )
        )
    )


_PASSED_ON: dict[str, Any] = {
    "context_settings": {"ignore_unknown_options": True, "allow_extra_args": True},
    "add_help_option": False,
}
"""For commands that the contract's distribution has too, because authors of plugins need no gateway."""


def _pass_on(context: typer.Context, command: str, prog: str) -> None:
    from gateway_schemas.authoring.command import main as authoring

    raise typer.Exit(authoring([command, *context.args], prog=prog))


@app.command(**_PASSED_ON)
def twin(context: typer.Context) -> None:
    """Run an installed plugin's twin by itself, with a page that shows its state: twin NAME --port 9001."""
    _pass_on(context, "twin", "gateway")


@plugin_app.command("new", **_PASSED_ON)
def plugin_new(context: typer.Context) -> None:
    """Write a plugin that passes its tests at once: new NAME --kind source|helpdesk|policy [--out DIR]."""
    _pass_on(context, "new", "gateway plugin")


@plugin_app.command("check", **_PASSED_ON)
def plugin_check(context: typer.Context) -> None:
    """Run the conformance kit and the quality rules on a plugin's folder: check DIR [--json]."""
    _pass_on(context, "check", "gateway plugin")


@plugin_app.command("dev", **_PASSED_ON)
def plugin_dev(context: typer.Context) -> None:
    """Run a plugin against its twin, anew at every change of its files: dev DIR."""
    _pass_on(context, "dev", "gateway plugin")


@plugin_app.command("record")
def plugin_record(
    connection: Annotated[UUID, typer.Option(help="The connection, or the App with the shared door.")],
    out: Annotated[Path, typer.Option(help="The plugin's fixtures folder.")] = Path("fixtures"),
    limit: Annotated[int, typer.Option(help="How many of the newest deliveries.", min=1, max=1000)] = 20,
    origin: Annotated[str | None, typer.Option(help="Only webhook, poll, fetch or listen.")] = None,
    keep: Annotated[list[str] | None, typer.Option(help="A key whose values name nobody and shall stay.")] = None,
) -> None:
    """Turn stored deliveries into redacted fixtures. Read them before you show them to anybody."""
    from gateway.recording import NothingToRecord, Wish, record

    wish = Wish(connection, out, limit=limit, origin=origin, keep=tuple(keep or ()))
    try:
        recorded = asyncio.run(record(_settings(sealing=True), wish))
    except NothingToRecord as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None
    for one in recorded:
        typer.echo(str(one))
    if any(one.refused or one.verified for one in recorded):
        raise typer.Exit(1)


@plugin_app.command("list")
def plugin_list(
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON array.")] = False,
) -> None:
    """Show the installed plugins, and what is wrong with broken ones."""
    from gateway.registry import Registry

    listed = Registry.load(modules=_settings().plugin_modules).listed
    if as_json:
        typer.echo(json.dumps([asdict(one) for one in listed], indent=2))
    else:
        for one in listed:
            typer.echo(f"{one.role:9} {one.name:20} {one.distribution} {one.version}  {one.error or 'ok'}")
    if any(not one.ok for one in listed):
        raise typer.Exit(1)


@key_app.command("create")
def key_create(
    name: Annotated[str, typer.Argument(help="What the key is for.")],
    scope: Annotated[
        list[str] | None, typer.Option(help="A scope; repeat for several. Without scope and role: all.")
    ] = None,
    role: Annotated[list[Role] | None, typer.Option(help="A role, for the scopes it has; repeat for several.")] = None,
    days: Annotated[int | None, typer.Option(help="Days until it expires.", min=1, max=36500)] = None,
) -> None:
    """Make an API key and print it once."""
    from gateway.security.keys import create_from_command_line
    from gateway.security.scopes import UnknownScope

    try:
        key = asyncio.run(create_from_command_line(_settings(sealing=True), name, scope, days, role or ()))
    except UnknownScope as error:
        raise typer.BadParameter(str(error), param_hint="--scope") from error
    typer.echo(key)


@audit_app.command("head")
def audit_head() -> None:
    """Print the newest entry's number, digest and time in one line, to be kept elsewhere."""
    from gateway.security.audit.command import head_from_command_line

    typer.echo(asyncio.run(head_from_command_line(_settings(sealing=True))).line())


@audit_app.command("verify")
def audit_verify(
    head: Annotated[
        Path | None,
        typer.Option(
            help="A file of lines that `audit head` printed; - reads them from standard input.",
            exists=True,
            dir_okay=False,
            allow_dash=True,
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON object.")] = False,
) -> None:
    """Check every entry of the audit log and the chain between them; ends with 1 when something is wrong."""
    from gateway.security.audit.command import verify_from_command_line
    from gateway.security.audit.verify import parse_heads

    heads = []
    if head is not None:
        text = sys.stdin.read() if str(head) == "-" else head.read_text(encoding="utf-8")
        try:
            heads = parse_heads(text.splitlines())
        except ValueError as error:
            raise typer.BadParameter(str(error), param_hint="--head") from error
    told = asyncio.run(verify_from_command_line(_settings(sealing=True), heads))
    if as_json:
        typer.echo(json.dumps(told.summary(), indent=2))
    else:
        for one in told.troubles:
            typer.echo(f"entry {one.seq}: {one.what}")
        if told.more:
            typer.echo(f"and {told.more} more")
        typer.echo(f"{told.entries} entries, {told.redacted} without their changes; head: {told.head.line()}")
        if told.ok and not heads:
            typer.echo("Nothing was changed. Only a head that was kept elsewhere shows whether the end is missing.")
        elif told.ok:
            typer.echo("Nothing was changed, and nothing is missing up to the newest head given.")
    if not told.ok:
        raise typer.Exit(1)


@secrets_app.command("rotate")
def secrets_rotate() -> None:
    """Seal all secrets anew under the first key of GATEWAY_SECRET_KEY, while the gateway runs; may be killed and begun
    again. Exit code 1: something is left or cannot be opened."""
    from gateway.security.rotation import rotate_from_command_line

    settings = _settings(sealing=True)
    done, key = asyncio.run(rotate_from_command_line(settings, lambda line: typer.echo(line, err=True)))
    typer.echo(f"{done.renewed} sealed anew under the key {key}.")
    for one in done.lost:
        typer.echo(f"None of the keys opens {one}: enter it anew, or add the key it was sealed under.", err=True)
    if done.left:
        typer.echo(
            f"{done.left} are still under an older key, because a process seals with it: run this again.", err=True
        )
    if done.left or done.lost:
        raise typer.Exit(1)


@secrets_app.command("status")
def secrets_status(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show how many secrets are sealed under which key. Exit code 1: some are under another than the first."""
    from gateway.security.rotation import status_from_command_line

    used, keys = asyncio.run(status_from_command_line(_settings(sealing=True)))
    totals: dict[str, int] = dict.fromkeys(keys, 0)
    for one in used.values():
        for key, number in one.items():
            totals[key] = totals.get(key, 0) + number
    if as_json:
        typer.echo(json.dumps({"keys": keys, "totals": totals, "columns": used}, indent=2))
    else:
        for key, number in totals.items():
            what = "active" if key == keys[0] else "opens only" if key in keys else "sealed with any of the keys"
            typer.echo(
                f"{key:16} {number:8}  {what if key in keys or key == 'direct' else 'UNKNOWN: this key is missing'}"
            )
    if any(number for key, number in totals.items() if key != keys[0]):
        raise typer.Exit(1)


def main() -> None:
    """The entry point of the console script."""
    from gateway.security.master_keys import ForeignKey

    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    try:
        app()
    except ForeignKey as error:
        typer.echo(str(error), err=True)
        raise SystemExit(2) from None


if __name__ == "__main__":
    main()
