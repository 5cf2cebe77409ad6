"""Whatever a configuration says, its files say it: applied elsewhere and exported again, they are the same."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from gateway.configuration.apply import apply, plan_for
from gateway.configuration.documents import Document, parse, render
from gateway.configuration.export import export, export_to
from gateway.configuration.plan import Bundle
from gateway.runtime import Runtime, open_runtime
from support.configuration import empty
from support.gateway import fresh_database, settings_for
from support.postgres import server_url  # noqa: F401  a fixture

WORDS = st.text(
    alphabet=st.characters(exclude_categories=("Cs",), exclude_characters="\x00"), min_size=1, max_size=30
).filter(lambda text: text == text.strip() != "")
ODD = st.sampled_from(["no", "10:00", "1e3", "0o7", "2026-12-25", "~", "null", "a: b", "- x", "# c", "one\ntwo", "é"])
NAMES = WORDS | ODD
ZONES = st.sampled_from(["UTC", "Europe/Berlin", "America/St_Johns"])
PERIODS = st.sampled_from([[], [["09:00", "12:00"]], [["00:00", "10:30"], ["13:00", "24:00"]]])
DAYS = ("monday", "tuesday", "friday", "sunday")


def secret(name: str) -> dict[str, str]:
    return {"from_env": name}


@st.composite
def configurations(draw: st.DrawFn) -> tuple[list[Document], dict[str, str]]:
    """Documents, and the values of their secrets."""
    found: list[tuple[str, dict[str, Any]]] = []
    secrets: dict[str, str] = {}

    def unique(strategy: Any, most: int, least: int = 0) -> list[Any]:
        return draw(st.lists(strategy, max_size=most, min_size=least, unique=True))

    def hidden() -> dict[str, str]:
        name = f"S{len(secrets)}"
        secrets[name] = draw(
            st.text(st.characters(codec="ascii", exclude_categories=("Cc", "Cs")), min_size=20, max_size=24)
        )
        return secret(name)

    brands = unique(NAMES, 3)
    found += [("brands", {"name": name, "timezone": draw(ZONES)}) for name in brands]
    calendars = unique(
        st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,10}", fullmatch=True).filter(lambda n: n != "always"), 2
    )
    for name in calendars:
        hours = {day: draw(PERIODS) for day in DAYS if draw(st.booleans())} | {"thursday": [["10:00", "11:00"]]}
        holidays = draw(st.lists(st.dates().map(str), max_size=2))
        found.append(("calendars", {"name": name, "timezone": draw(ZONES), "hours": hours, "holidays": holidays}))
    for name in unique(st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True), 2):
        found.append(("lists", {"name": name, "entries": unique(NAMES, 4)}))
    desks = unique(NAMES, 2)
    for name in desks:
        signing = [hidden() for _ in range(draw(st.integers(0, 2)))]
        config = {"base_url": "https://acme.zendesk.example", "email": "a@b.example", "api_token": hidden()}
        found.append(
            ("connections", {"name": name, "plugin": "zendesk", "config": config | {"signing_secrets": signing}})
        )
    apps = unique(NAMES, 2)
    for name in apps:
        config = {"consumer_secret": hidden(), "bearer_token": hidden()}
        found.append(("apps", {"name": name, "plugin": "x", "config": config}))
    for number, name in enumerate(unique(NAMES, 3) if apps else []):
        config = {"user_id": str(number + 1), "username": "acme", "access_token": hidden()}
        source: dict[str, Any] = {"name": name, "plugin": "x", "app": apps[0], "config": config}
        if brands:
            source["brand"] = draw(st.sampled_from([None, *brands]))
        if desks:
            source["helpdesk"] = draw(st.sampled_from([None, *desks]))
        if draw(st.booleans()):
            source["paused"] = draw(st.sampled_from([[], ["in"], ["in", "out"]]))
        found.append(("connections", source | {"history": draw(st.sampled_from(["none", "record", "tickets"]))}))
    for name in unique(NAMES, 3):
        params = {"at": "review_reply", "when": 'reply.text.contains("x")'}
        finding = {"severity": "hold", "code": "code", "message": draw(NAMES), "evidence": draw(st.just([]))}
        policy: dict[str, Any] = {"name": name, "type": "rule", "params": params | {"findings": [finding]}}
        policy["in_force"] = draw(st.booleans())
        policy["mode"] = draw(st.sampled_from(["on", "shadow", "off"]))
        policy["scope"] = {"brands": brands[:1], "languages": draw(st.sampled_from([[], ["de", "en"]]))}
        if calendars:
            policy["on_timeout"] = {"minutes": draw(st.none() | st.integers(1, 100)), "calendar": calendars[0]}
        if brands and draw(st.booleans()):
            policy["brand"] = brands[0]
        else:
            policy["locked"] = draw(st.booleans())
        found.append(("policies", policy))
    for number, name in enumerate(unique(NAMES, 2)):
        subscription: dict[str, Any] = {"name": name, "url": f"https://alarms.example/{number}", "kinds": ["reply.*"]}
        subscription |= {"brands": brands[:1], "include_text": draw(st.booleans()), "description": draw(NAMES)}
        found.append(("subscriptions", subscription))
    documents = [Document(kind, content, f"{kind}/{number}.yaml") for number, (kind, content) in enumerate(found)]
    return documents, secrets


@pytest.fixture(scope="module")
async def installations(server_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[list[Runtime]]:  # noqa: F811
    """Two installations with keys of their own."""
    folders = [tmp_path_factory.mktemp(name) for name in ("one", "other")]
    async with (
        fresh_database(server_url) as one,
        fresh_database(server_url) as other,
        open_runtime(settings_for(one, folders[0])) as first,
        open_runtime(settings_for(other, folders[1])) as second,
    ):
        yield [first, second]


async def files_of(runtime: Runtime) -> dict[str, str]:
    return {one.document.file: render(one.document.content) for one in await export(runtime)}


async def put(runtime: Runtime, bundle: Bundle) -> None:
    plan = await plan_for(runtime, bundle)
    await apply(runtime, bundle, digest=plan.digest, reason="for this test", caller=None)
    assert (await plan_for(runtime, bundle)).changes == ()


async def secrets_of(runtime: Runtime) -> dict[str, Any]:
    found = {}
    async with runtime.database.read() as connection:
        for table, context in (("app", "app"), ("connection", "connection")):
            for row in (await connection.exec_driver_sql(f"SELECT id, name, secrets FROM {table}")).mappings():
                found[f"{table} {row['name']}"] = runtime.vault.unseal(row["secrets"], f"{context}:{row['id']}")
    return found


@settings(
    max_examples=6,
    deadline=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(configuration=configurations())
async def test_export_apply_export_gives_the_same_bytes(
    installations: list[Runtime], configuration: tuple[list[Document], dict[str, str]]
) -> None:
    first, second = installations
    for runtime in installations:
        await empty(runtime)
    documents, secrets = configuration
    await put(first, Bundle(documents, secrets))
    files = await files_of(first)
    # the second has the values under the names that the files give them
    values = await _values(first, files, secrets)
    again = [Document(file.split("/")[0], parse(text)[0], file) for file, text in files.items()]
    await put(second, Bundle(again, values))
    assert await files_of(second) == files
    assert await secrets_of(second) == await secrets_of(first)


async def _values(runtime: Runtime, files: dict[str, str], secrets: dict[str, str]) -> dict[str, str]:
    """The values of exported placeholders, looked up where they are sealed."""
    sealed = await secrets_of(runtime)
    found: dict[str, str] = {}
    for text in files.values():
        content = parse(text)[0]
        table = "app" if "consumer_secret" in content.get("config", {}) else "connection"
        for field, value in content.get("config", {}).items():
            stored = sealed[f"{table} {content['name']}"].get(field)
            if isinstance(value, dict) and "from_env" in value:
                found[value["from_env"]] = stored
            elif isinstance(value, list) and value and isinstance(value[0], dict):
                found |= {one["from_env"]: stored[number] for number, one in enumerate(value)}
    assert set(found.values()) <= set(secrets.values())
    assert not any(value in text for value in secrets.values() for text in files.values())
    return found


async def test_an_export_to_a_folder_is_complete_and_repeats_itself(
    installations: list[Runtime], tmp_path: Path
) -> None:
    await empty(installations[0])
    await put(installations[0], Bundle([Document("brands", {"name": "Acme"}, "brands/a.yaml")]))
    assert (await export_to(installations[0], tmp_path / "files")).files == ["brands/acme.yaml"]
    written = await export_to(installations[0], tmp_path / "files")
    assert (written.files, written.same) == ([], 1)
