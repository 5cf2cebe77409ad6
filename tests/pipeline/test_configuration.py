"""Configuration as files: planned first, applied whole or not at all, and the same again wherever it is applied."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway.configuration.apply import ChangedMeanwhile, apply, plan_for
from gateway.configuration.command import told
from gateway.configuration.documents import Unreadable, parse, read_tree
from gateway.configuration.export import export_to
from gateway.configuration.plan import Bundle, ConfigurationInvalid, Plan
from gateway.configuration.registry import folders
from gateway.configuration.secrets import look_up, placeholders
from gateway.db.database import execute, fetch_all
from gateway.policy import library, trial
from gateway.policy.stored import SUBJECT_MODELS
from gateway.runtime import Runtime, open_runtime
from gateway_schemas.decision import Case
from support.configuration import empty
from support.gateway import fresh_database, settings_for
from support.postgres import server_url  # noqa: F401  a fixture
from support.repository import ROOT

FILES = {
    "brands/acme.yaml": "name: Acme\ntimezone: Europe/Berlin\n",
    "calendars/office.yaml": """\
# when people are here
name: office
timezone: Europe/Berlin
hours:
  monday:
    - [09:00, 12:00]
    - [13:00, 24:00]
holidays: [2026-12-24]
holiday_region: {country: DE, subdivision: BY}
""",
    "lists/vips.yaml": "name: vips\nentries:\n  - rita\n  - 'no'\n",
    "apps/x.yaml": """\
name: network
plugin: x
config:
  consumer_secret: {from_env: X_CONSUMER}
  bearer_token: {from_env: X_BEARER}
  client_id: our-app
""",
    "connections/desk.yaml": """\
name: Desk
plugin: zendesk
config:
  base_url: https://acme.zendesk.example
  email: bot@acme.example
  api_token: {from_env: DESK_TOKEN}
""",
    "connections/source.yaml": """\
name: "@acme"
plugin: x
app: network
brand: Acme
helpdesk: Desk
config:
  user_id: "12"
  username: acme
  access_token: {from_env: ACME_TOKEN}
allow_private: [127.0.0.1/32]
""",
    "policies/no-argument.yaml": """\
name: no-argument
type: no_argument
scope:
  brands: [Acme]
on_timeout: {action: reject, minutes: 30, calendar: office}
""",
}
RULE = """\
name: long-answers
type: rule
mode: on
params:
  at: review_reply
  when: reply.text.contains("too long")
  findings:
    - {severity: hold, code: long, message: This is long.}
"""
CASE = {"now": "2026-03-12T10:15:00Z", "source": "x"}
REPLY = {
    **{"text": "All of this is much too long.", "account": "12", "visibility": "public", "length": 29},
    "target": {"kind": "comment", "ref": "1"},
}
SECRETS = {"X_CONSUMER": "c0nsumer", "X_BEARER": "bearer1", "DESK_TOKEN": "t0ken", "ACME_TOKEN": "acc3ss"}


def tree(folder: Path, **changes: str | None) -> Path:
    """The files above in a folder; `changes` by the stems of files, None leaves one out."""
    for file, text in FILES.items():
        stem = Path(file).stem.replace("-", "_")
        found = changes.get(stem, text)
        path = folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        if found is not None:
            path.write_text(found, "utf-8")
        else:
            path.unlink(missing_ok=True)
    return folder


def bundle(folder: Path, *, prune: bool = False, secrets: dict[str, str] | None = None) -> Bundle:
    found = read_tree(folder, folders())
    assert found.errors == []
    return Bundle(found.documents, SECRETS if secrets is None else secrets, prune)


async def planned(runtime: Runtime, folder: Path, **options: Any) -> Plan:
    return await plan_for(runtime, bundle(folder, **options))


async def applied(runtime: Runtime, folder: Path, **options: Any) -> Plan:
    given = bundle(folder, **options)
    plan = await plan_for(runtime, given)
    await apply(runtime, given, digest=plan.digest, reason="for this test", caller=None)
    return plan


def actions(plan: Plan) -> set[tuple[str, str]]:
    return {(change.action, change.key) for change in plan.changes}


@pytest.fixture(scope="module")
async def shared(server_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Runtime]:  # noqa: F811
    """One installation for all of these."""
    folder = tmp_path_factory.mktemp("data")
    async with fresh_database(server_url) as url, open_runtime(settings_for(url, folder)) as opened:
        yield opened


@pytest.fixture
async def runtime(shared: Runtime) -> Runtime:
    """It, with nothing in it."""
    await empty(shared)
    return shared


@pytest.fixture
async def other(server_url: str, tmp_path: Path) -> AsyncIterator[Runtime]:  # noqa: F811
    """Another installation, with a key of its own, on an empty database."""
    async with fresh_database(server_url) as url, open_runtime(settings_for(url, tmp_path / "other")) as opened:
        yield opened


async def test_files_are_applied_once_and_exported_to_the_same_bytes_elsewhere(
    runtime: Runtime, other: Runtime, tmp_path: Path
) -> None:
    folder = tree(tmp_path / "config")
    plan = await applied(runtime, folder)
    assert {action for action, _ in actions(plan)} == {"create"}
    assert len(plan.changes) == len(FILES)
    again = await planned(runtime, folder)
    assert (again.changes, again.unchanged) == ((), len(FILES))
    assert (await planned(runtime, folder, secrets={})).kept == tuple(sorted(SECRETS))
    first = await export_to(runtime, tmp_path / "first")
    assert len(first.files) == len(FILES)
    texts = {path.name: path.read_text() for path in sorted((tmp_path / "first").rglob("*.yaml"))}
    assert not any(secret in text for text in texts.values() for secret in SECRETS.values())
    names = {"APP_NETWORK_CONSUMER_SECRET": "c0nsumer", "APP_NETWORK_BEARER_TOKEN": "bearer1"}
    names |= {"HELPDESK_DESK_API_TOKEN": "t0ken", "SOURCE_ACME_ACCESS_TOKEN": "acc3ss"}
    await applied(other, tmp_path / "first", secrets=names)
    await export_to(other, tmp_path / "second")
    assert {path.name: path.read_text() for path in sorted((tmp_path / "second").rglob("*.yaml"))} == texts
    for one in (runtime, other):
        async with one.database.read() as connection:
            rows = await fetch_all(connection, "SELECT id, name, secrets FROM connection ORDER BY name")
        secrets = {row["name"]: one.vault.unseal(row["secrets"], f"connection:{row['id']}") for row in rows}
        assert secrets == {"@acme": {"access_token": "acc3ss"}, "Desk": {"api_token": "t0ken"}}


async def test_a_plan_says_what_would_change_field_by_field(runtime: Runtime, tmp_path: Path) -> None:
    folder = tree(tmp_path / "config")
    await applied(runtime, folder)
    tree(
        folder,
        acme="name: Acme\ntimezone: Europe/Rome\n",
        vips="name: vips\nentries: [rita, bob]\n",
        desk=FILES["connections/desk.yaml"].replace("bot@", "robot@"),
        no_argument=FILES["policies/no-argument.yaml"] + "mode: shadow\n",
    )
    plan = await planned(runtime, folder, secrets={**SECRETS, "DESK_TOKEN": "another"})
    words = "\n".join(told(plan))
    for line in (
        '    timezone: "Europe/Berlin" → "Europe/Rome"',
        '      - "no"\n      + "bob"',
        "    config.api_token: (secret) → (another secret)",
        '    config.email: "bot@acme.example" → "robot@acme.example"',
        '    mode: "on" → "shadow"',
        "0 to create, 4 to change, 0 to remove; 3 as they are",
    ):
        assert line in words, words
    assert "another" not in words.replace("another secret", "")


async def test_everything_that_is_wrong_is_named_at_once_with_file_field_and_mend(
    runtime: Runtime, tmp_path: Path
) -> None:
    folder = tree(
        tmp_path / "config",
        acme="name: Acme\ntimezone: Europe/Atlantis\nzone: x\n",
        office=FILES["calendars/office.yaml"].replace("country: DE", "country: XX"),
        x=FILES["apps/x.yaml"].replace("{from_env: X_BEARER}", "a-secret-in-a-file"),
        no_argument="name: no-argument\ntype: no_argument\nparams: {nonsense: 1}\n",
    )
    acme = FILES["connections/source.yaml"].replace("helpdesk: Desk", "helpdesk: Dusk").replace('"12"', '"twelve"')
    (folder / "connections" / "source.yaml").write_text(acme, "utf-8")
    (folder / "policies" / "other.yaml").write_text("name: other\ntype: no_such_type\n", "utf-8")
    (folder / "policies" / "twice.yaml").write_text("name: other\nname: other\n", "utf-8")
    (folder / "wishes").mkdir()
    (folder / "wishes" / "one.yaml").write_text("a: 1\n", "utf-8")
    found = read_tree(folder, folders())
    with pytest.raises(ConfigurationInvalid) as caught:
        await plan_for(runtime, Bundle(found.documents, {"X_CONSUMER": "c0nsumer"}), found.errors)
    errors = {(one.file, one.field): (one.message, one.fix) for one in caught.value.errors}
    assert set(errors) >= {
        ("brands/acme.yaml:2", "timezone"),
        ("brands/acme.yaml:3", "zone"),
        ("calendars/office.yaml:9", "holiday_region.country"),
        ("apps/x.yaml:5", "config.bearer_token"),
        ("connections/source.yaml:5", "helpdesk"),
        ("connections/source.yaml:7", "config.user_id"),
        ("connections/source.yaml:9", "config.access_token"),
        ("policies/no-argument.yaml:3", "params.nonsense"),
        ("policies/other.yaml:2", "type"),
        ("policies/twice.yaml:2", ""),
        ("wishes/one.yaml", ""),
    }, errors
    assert errors["apps/x.yaml:5", "config.bearer_token"][1] == "write {from_env: NAME} or {from_file: PATH}"
    assert "ACME_TOKEN" in str(errors["connections/source.yaml:9", "config.access_token"])
    assert all(message for message, _ in errors.values())
    assert "a-secret-in-a-file" not in str(caught.value.response().body)
    async with runtime.database.read() as connection:
        assert await fetch_all(connection, "SELECT 1 FROM brand") == []


async def test_a_secret_without_a_value_stays_where_there_is_one_and_is_asked_for_where_there_is_none(
    runtime: Runtime, tmp_path: Path
) -> None:
    folder = tree(tmp_path / "config")
    await applied(runtime, folder)
    tree(folder, desk=FILES["connections/desk.yaml"].replace("bot@", "robot@"))
    plan = await applied(runtime, folder, secrets={})
    assert plan.kept == tuple(sorted(SECRETS))
    async with runtime.database.read() as connection:
        row = (await fetch_all(connection, "SELECT * FROM connection WHERE name = 'Desk'"))[0]
    assert row["config"]["email"] == "robot@acme.example"
    assert runtime.vault.unseal(row["secrets"], f"connection:{row['id']}") == {"api_token": "t0ken"}
    new = FILES["connections/desk.yaml"].replace("name: Desk", "name: New").replace("DESK_TOKEN", "NEW_TOKEN")
    (folder / "connections" / "new.yaml").write_text(new, "utf-8")
    with pytest.raises(ConfigurationInvalid, match="there is no value for NEW_TOKEN"):
        await planned(runtime, folder)


async def test_an_optional_secret_without_a_value_leaves_a_new_connection_waiting_for_it(
    runtime: Runtime, tmp_path: Path
) -> None:
    desk = FILES["connections/desk.yaml"] + "  signing_secrets: [{from_env: DESK_SIGNING}]\n"
    folder = tree(tmp_path / "config", desk=desk)
    plan = await applied(runtime, folder)
    assert any("config.signing_secrets.0 is left out" in note for note in plan.notes)
    async with runtime.database.read() as connection:
        row = (await fetch_all(connection, "SELECT * FROM connection WHERE name = 'Desk'"))[0]
    assert row["status"] == "needs_authorisation"
    assert "config.signing_secrets.0" in row["status_reason"]
    assert (await planned(runtime, folder)).changes == ()
    plan = await applied(runtime, folder, secrets={**SECRETS, "DESK_SIGNING": "s1gned"})
    assert actions(plan) == {("change", "helpdesk Desk")}
    async with runtime.database.read() as connection:
        row = (await fetch_all(connection, "SELECT * FROM connection WHERE name = 'Desk'"))[0]
    assert row["status"] == "active"


async def test_a_plan_that_is_out_of_date_is_not_applied_and_the_new_one_is_shown(
    runtime: Runtime, tmp_path: Path
) -> None:
    folder = tree(tmp_path / "config")
    await applied(runtime, folder)
    tree(folder, acme="name: Acme\ntimezone: Europe/Rome\n")
    given = bundle(folder)
    plan = await plan_for(runtime, given)
    async with runtime.database.write() as connection:
        await execute(connection, "UPDATE brand SET timezone = 'Europe/Oslo'")
    with pytest.raises(ChangedMeanwhile) as caught:
        await apply(runtime, given, digest=plan.digest, reason="", caller=None)
    assert caught.value.plan.changes[0].differences[0].before == "Europe/Oslo"
    async with runtime.database.read() as connection:
        assert (await fetch_all(connection, "SELECT timezone FROM brand"))[0]["timezone"] == "Europe/Oslo"


async def test_of_two_that_apply_the_same_plan_at_once_one_does(runtime: Runtime, tmp_path: Path) -> None:
    given = bundle(tree(tmp_path / "config"))
    plan = await plan_for(runtime, given)
    ends = await asyncio.gather(
        *(apply(runtime, given, digest=plan.digest, reason="at once", caller=None) for _ in range(3)),
        return_exceptions=True,
    )
    assert [type(end).__name__ for end in ends].count("Applied") == 1, ends
    assert {type(end).__name__ for end in ends} == {"Applied", "ChangedMeanwhile"}
    async with runtime.database.read() as connection:
        assert len(await fetch_all(connection, "SELECT 1 FROM policy_revision")) == 1


async def test_what_fails_on_its_way_leaves_nothing_behind(runtime: Runtime, tmp_path: Path) -> None:
    """The last of all fails: two connections of one App for one account."""
    folder = tree(tmp_path / "config")
    text = FILES["connections/source.yaml"].replace('"@acme"', '"@acme again"')
    (folder / "connections" / "again.yaml").write_text(text, "utf-8")
    given = bundle(folder)
    plan = await plan_for(runtime, given)
    with pytest.raises(Exception, match="The account 12 of this App is connected already") as caught:
        await apply(runtime, given, digest=plan.digest, reason="why not", caller=None)
    assert [one.file for one in caught.value.errors] == ["connections/again.yaml"]  # type: ignore[attr-defined]
    async with runtime.database.read() as connection:
        for table in ("brand", "app", "connection", "policy", "word_list"):
            assert await fetch_all(connection, f"SELECT 1 FROM {table}") == []


async def test_pruning_removes_what_no_file_names_and_brings_it_back_with_the_file(
    runtime: Runtime, tmp_path: Path
) -> None:
    folder = tree(tmp_path / "config")
    await applied(runtime, folder)
    gone = dict.fromkeys(("no_argument", "office", "desk"))
    acme = FILES["connections/source.yaml"].replace("helpdesk: Desk\n", "")
    tree(folder, **gone)
    (folder / "connections" / "source.yaml").write_text(acme, "utf-8")
    kept = await planned(runtime, folder)
    assert actions(kept) == {("change", "source @acme")}
    assert set(kept.unnamed) == {"policy no-argument", "calendar office", "connection helpdesk Desk"}
    plan = await applied(runtime, folder, prune=True)
    pruned = {("archive", "no-argument"), ("delete", "office"), ("pause", "helpdesk Desk")}
    assert actions(plan) == {*pruned, ("change", "source @acme")}
    assert (await planned(runtime, folder, prune=True)).changes == ()
    async with runtime.database.read() as connection:
        assert await library.effective(connection, runtime.now()) == {}
    tree(folder)
    plan = await applied(runtime, folder)
    assert actions(plan) == {("create", "no-argument"), ("create", "office"), ("change", "source @acme")}
    async with runtime.database.read() as connection:
        assert list((await library.effective(connection, runtime.now())).values()) == [1]
    assert (await planned(runtime, folder)).changes == ()


async def test_a_calendar_that_a_policy_of_the_files_names_is_not_pruned(runtime: Runtime, tmp_path: Path) -> None:
    folder = tree(tmp_path / "config")
    await applied(runtime, folder)
    tree(folder, office=None)
    with pytest.raises(ConfigurationInvalid, match="the policy no-argument names it"):
        await planned(runtime, folder, prune=True)


async def test_exporting_again_leaves_comments_and_names_of_secrets_alone(runtime: Runtime, tmp_path: Path) -> None:
    folder = tree(tmp_path / "config")
    await applied(runtime, folder)
    async with runtime.database.write() as connection:
        await execute(connection, "UPDATE connection SET history_days = 7 WHERE name = 'Desk'")
    before = {path: path.read_text() for path in folder.rglob("*.yaml")}
    written = await export_to(runtime, folder)
    assert (written.files, written.same, written.left) == (["connections/desk.yaml"], len(FILES) - 1, [])
    changed = [path for path, text in before.items() if path.read_text() != text]
    assert [path.name for path in changed] == ["desk.yaml"]
    assert "api_token:\n    from_env: DESK_TOKEN\n" in changed[0].read_text()
    assert "history_days: 7" in changed[0].read_text()
    (folder / "brands" / "old.yaml").write_text("name: Old\n", "utf-8")
    assert (await export_to(runtime, folder)).left == ["brands/old.yaml"]
    assert (await export_to(runtime, folder, prune=True)).removed == ["brands/old.yaml"]
    assert not (folder / "brands" / "old.yaml").exists()


async def test_a_policy_that_fails_a_case_kept_with_it_is_not_applied(runtime: Runtime, tmp_path: Path) -> None:
    folder = tree(tmp_path / "config", no_argument=RULE)
    await applied(runtime, folder)
    async with runtime.database.write() as connection:
        row = (await fetch_all(connection, "SELECT id FROM policy"))[0]
        await trial.keep(
            connection,
            row["id"],
            name="long answers are held",
            point="review_reply",
            case=Case.model_validate(CASE),
            subject=SUBJECT_MODELS["review_reply"].model_validate(REPLY),
            expect={"verdict": "hold"},
            author="Ann",
            now=runtime.now(),
        )
    tree(folder, no_argument=RULE.replace("severity: hold", "severity: warn"))
    with pytest.raises(ConfigurationInvalid, match="fails the case long answers are held"):
        await planned(runtime, folder)
    tree(folder, no_argument=RULE.replace("mode: on", "order: 7"))
    assert actions(await applied(runtime, folder)) == {("change", "long-answers")}


async def test_the_documented_tree_can_be_applied(runtime: Runtime, tmp_path: Path) -> None:
    page = (ROOT / "docs" / "configuration.md").read_text("utf-8")
    blocks = re.findall(r"```yaml\n# (\S+)\n(.*?)```", page, flags=re.DOTALL)
    for file, text in blocks:
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_text(text, "utf-8")
    assert {file.split("/")[0] for file, _ in blocks} == set(folders())
    documents = read_tree(tmp_path, folders()).documents
    wanted = {one.name for document in documents for one in placeholders(document.content)}
    secrets = {name: f"value of {name}" for name in wanted}
    plan = await applied(runtime, tmp_path, secrets=secrets)
    assert len(plan.changes) == len(blocks)
    assert plan.notes == ()
    assert (await planned(runtime, tmp_path, secrets=secrets)).changes == ()


def test_values_come_from_the_environment_and_from_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "key").write_text("of a file\n", "utf-8")
    monkeypatch.setenv("A_TOKEN", "of the environment")
    document = {"a": {"from_env": "A_TOKEN"}, "b": [{"from_file": "key"}], "c": {"from_env": "NOT_SET"}}
    assert look_up(document, tmp_path) == {"A_TOKEN": "of the environment", "key": "of a file"}


@pytest.mark.parametrize(
    ("text", "complaint", "line"),
    [
        ("name: a\nname: b\n", "name is there twice", 2),
        ("name: &a x\nother: *a\n", "an alias", 2),
        ("name: !!python/object:os.system x\n", "the tag", 1),
        ("name: [a\n", "is no YAML", 2),
        ("- a\n", "holds no names", None),
        ("", "holds no names", None),
        ("a: " + "[" * 500, "is no YAML", None),
        ("? [a]\n: b\n", "a name must be a word", 1),
    ],
)
def test_a_file_that_cannot_be_read_is_named_with_its_line(text: str, complaint: str, line: int | None) -> None:
    with pytest.raises(Unreadable, match=re.escape(complaint)) as caught:
        parse(text)
    assert line is None or caught.value.line == line


def test_words_of_yaml_1_1_are_words() -> None:
    read, _ = parse("a: no\nb: 10:00\nc: 2026-12-24\nd: on\ne: 1_000\nf: 0o17\ng: 1e3\nh: ~\ni: true\nj: '1'\n")
    assert read == {
        **{"a": "no", "b": "10:00", "c": "2026-12-24", "d": "on", "e": "1_000"},
        **{"f": 15, "g": 1000.0, "h": None, "i": True, "j": "1"},
    }
