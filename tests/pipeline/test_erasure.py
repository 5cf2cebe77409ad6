"""Promise 12: personal data can be erased, from everywhere, and does not come back by any way."""

from __future__ import annotations

import asyncio
import json
import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx2
import pytest

from gateway.backup import backup, restore
from gateway.db.database import fetch_all
from gateway.privacy.erase import STEPS, Tools, erase_due, request_erasure
from gateway.privacy.log import LogUnreadable, export_log, read_log
from gateway.privacy.marks import Marks
from gateway.privacy.retention import expire
from gateway.runtime import open_runtime
from gateway_schemas.errors import Gone
from support.gateway import settings_for
from support.postgres import clone_database, drop_database

WORDS = "my order 4711 from Wuppertal never came"
ANSWER = "Rita, your order 4711 leaves today."
EVERY = """SELECT c.relname AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p') AND NOT c.relispartition ORDER BY 1"""


async def customer_of(line: Any, handle: str) -> UUID:
    """The customer behind an account."""
    found: UUID = await line.gateway.value("SELECT customer_id FROM account WHERE handle = :handle", handle=handle)
    return found


async def traces(database: Any, *needles: str) -> list[str]:
    """Every place of the whole database in which one of these stands, as it is stored."""
    found = []
    async with database.read() as connection:
        for table in await fetch_all(connection, EVERY):
            for row in await fetch_all(connection, f'SELECT to_jsonb(t) AS whole FROM "{table["name"]}" t'):
                for column, value in row["whole"].items():
                    raw = isinstance(value, str) and value.startswith("\\x")
                    shown = bytes.fromhex(value[2:]).decode("latin-1") if raw else json.dumps(value, ensure_ascii=False)
                    found += [f"{table['name']}.{column}: {one}" for one in needles if one in shown]
    return found


async def erase(line: Any, http: httpx2.AsyncClient, customer: UUID) -> dict[str, Any]:
    """Ask for an erasure and wait for its receipt; the second round comes at once."""
    asked = await http.post(f"/v1/customers/{customer}/erasure", json={"reason": "asked by e-mail"})
    assert asked.status_code == 202, asked.text

    async def done() -> Any:
        await line.gateway.execute("UPDATE erasure SET due_at = :now WHERE rounds = 1", now=line.gateway.runtime.now())
        shown = (await http.get(asked.headers["location"])).json()
        return shown if shown["state"] == "done" else None

    receipt: dict[str, Any] = await line.gateway.until(done, "the erasure is done")
    return receipt


async def test_an_erased_customer_is_nowhere_any_more_and_others_are_untouched(
    make_line: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with make_line(default_policies=True) as line, line.rest() as http:
        rita_id = line.x.state.user("rita").id
        post = line.x.post("rita", f"@AcmeSupport {WORDS}")
        await line.settle()
        line.x.post("bob", "@AcmeSupport where is my invoice?")
        await line.settle()
        await line.answer(1, ANSWER)
        line.desk.agent_comment(1, "Ann", "Wuppertal called: Rita moved", public=False)
        await line.settle()
        line.x.edit(post, f"@AcmeSupport {WORDS}, and I moved")
        await line.settle()
        needles = ("Wuppertal", "order 4711", rita_id, "rita", "Rita", post)
        assert await traces(line.gateway.runtime.database, "Wuppertal"), "there is something to be found"

        receipt = await erase(line, http, await customer_of(line, "rita"))

        assert await traces(line.gateway.runtime.database, *needles) == []
        assert receipt["counts"]["interaction"] >= 2
        assert receipt["counts"]["delivery"] >= 1
        assert [one["ticket"] for one in receipt["elsewhere"]["tickets"]] == ["1"]
        assert len(receipt["elsewhere"]["answers"]) == 1
        # what is counted is still there
        assert await line.gateway.value("SELECT count(*) FROM ticket") == 2
        assert await line.gateway.value("SELECT count(*) FROM reply WHERE state = 'sent'") == 1
        assert await line.gateway.value("SELECT count(*) FROM interaction WHERE text <> ''") == 1
        shown = (await http.get("/v1/tickets")).json()["items"]
        for one in shown:
            assert (await http.get(f"/v1/tickets/{one['id']}")).status_code == 200
        bob = (await http.get("/v1/customers", params={"handle": "bob"})).json()["items"]
        assert [one["accounts"][0]["handle"] for one in bob] == ["bob"]
        # and what logs say at their ordinary level names nobody
        said = caplog.text
        assert not [one for one in ("Wuppertal", "order 4711", "rita", "Rita", "invoice") if one in said]


async def test_neither_replay_nor_a_repeated_webhook_nor_polling_brings_an_erased_customer_back(line: Any) -> None:
    async with line.rest() as http:
        post = line.x.post("rita", f"@AcmeSupport {WORDS}")
        await line.settle()
        delivered = await line.gateway.rows(
            "SELECT app_id, connection_id, headers, query, body, received_at FROM delivery WHERE origin = 'webhook'"
        )
        await erase(line, http, await customer_of(line, "rita"))

        for row in await line.gateway.rows("SELECT id FROM delivery WHERE NOT note ? 'emptied'"):
            assert (await http.post(f"/v1/deliveries/{row['id']}/replay")).status_code == 202
        emptied = await line.gateway.value("SELECT id FROM delivery WHERE note ? 'emptied' LIMIT 1")
        assert (await http.post(f"/v1/deliveries/{emptied}/replay")).status_code == 409
        # the same bytes once more, as a provider repeats a webhook
        for row in delivered:
            await line.gateway.execute(
                """INSERT INTO delivery (received_at, app_id, connection_id, role, origin, stream, method, query,
                       headers, body, note, shard, state, attempts)
                   VALUES (:received_at, :app_id, :connection_id, 'source', 'webhook', '', 'POST', :query, :headers,
                       :body, '{}', 0, 'pending', 0)""",
                **row,
            )
        await line.gateway.execute("UPDATE cursor SET cursor = NULL, next_at = :now", now=line.gateway.runtime.now())
        await line.settle()

        assert await traces(line.gateway.runtime.database, "Wuppertal", post) == []
        ended = await line.gateway.rows("SELECT DISTINCT state FROM delivery WHERE reason LIKE '%erased%'")
        assert ended
        assert all(row["state"] == "ignored" for row in ended)
        assert len(line.desk.tickets) == 1

        # what they write afterwards is a new contact, with somebody nothing is known of
        line.x.post("rita", "@AcmeSupport a new matter")
        await line.settle()
        assert len(line.desk.tickets) == 2
        assert await line.gateway.value("SELECT count(*) FROM account WHERE handle = 'rita'") == 1


async def test_what_was_queued_for_an_erased_customer_never_leaves(line: Any) -> None:
    async with line.rest() as http:
        line.x.post("rita", f"@AcmeSupport {WORDS}")
        await line.settle()
        await line.gateway.pause()
        await line.queue(1, ANSWER)
        await erase(line, http, await customer_of(line, "rita"))
        await line.gateway.lift()
        await line.settle()
        reply = await line.reply()
        assert (reply["state"], reply["code"]) == ("cancelled", "erased")
        assert "erased" in reply["reason"]
        assert line.published() == []


async def test_an_erasure_goes_on_where_it_was_interrupted_and_does_nothing_twice(line: Any) -> None:
    line.x.post("rita", f"@AcmeSupport {WORDS}")
    await line.settle()
    runtime = line.gateway.runtime
    customer, now = await customer_of(line, "rita"), runtime.now()
    asked = {"until": now, "by": "a test", "reason": "", "now": now}
    async with runtime.database.write() as connection:
        id = await request_erasure(connection, runtime.vault, customer, **asked)
        # not yet due for the worker: this test works on it itself, a step at a time
        await fetch_all(connection, "UPDATE erasure SET due_at = :late RETURNING id", late=now + timedelta(days=1))
    async with runtime.database.write() as connection:
        assert await request_erasure(connection, runtime.vault, customer, **asked) == id
    tools = Tools(runtime.database, runtime.vault, runtime.files)
    later = now + timedelta(days=2)
    for _ in range(len(STEPS) // 2):
        assert await erase_due(tools, id, later)
    half = await line.gateway.value("SELECT step FROM erasure")
    assert half > 0
    while await erase_due(tools, id, later + timedelta(days=1)):
        pass
    first = await line.gateway.value("SELECT counts FROM erasure")
    while await erase_due(tools, id, later + timedelta(days=2)):
        pass
    assert await line.gateway.value("SELECT state FROM erasure") == "done"
    assert await line.gateway.value("SELECT counts FROM erasure") == first, "the second round found nothing new"
    assert await line.gateway.value("SELECT needles FROM erasure") is None


async def test_files_of_an_erased_customer_go_but_for_what_others_sent_as_well(line: Any) -> None:
    line.x.post("rita", f"@AcmeSupport {WORDS}")
    line.x.post("bob", "@AcmeSupport where is my invoice?")
    await line.settle()
    files, now = line.gateway.runtime.files, line.gateway.runtime.now()
    own, shared = await files.write(b"only Rita's"), await files.write(b"a picture that goes round")
    for handle, sha256 in (("rita", own), ("rita", shared), ("bob", shared)):
        await line.gateway.execute(
            """INSERT INTO attachment (id, owner, owner_id, ref, position, connection_id, data, state, sha256, name,
                   tries, due_at, created_at)
               SELECT gen_random_uuid(), 'interaction', i.id, :sha256, 0, i.connection_id, '{}', 'stored', :sha256,
                   'rita.jpg', 0, :now, :now
               FROM interaction i JOIN account a ON a.id = i.account_id WHERE a.handle = :handle""",
            handle=handle,
            sha256=sha256,
            now=now,
        )
    async with line.rest() as http:
        receipt = await erase(line, http, await customer_of(line, "rita"))
    assert receipt["counts"]["attachment"] == 2
    with pytest.raises(Gone):
        await files.read(own)
    assert await files.read(shared) == b"a picture that goes round"
    rows = await line.gateway.rows("SELECT state, name FROM attachment ORDER BY state")
    assert [(row["state"], row["name"]) for row in rows] == [
        ("refused", None),
        ("refused", None),
        ("stored", "rita.jpg"),
    ]


async def test_a_restored_backup_brings_no_erased_customer_back(line: Any, server_url: str, tmp_path: Path) -> None:
    line.x.post("rita", f"@AcmeSupport {WORDS}")
    line.x.post("bob", "@AcmeSupport where is my invoice?")
    await line.settle()
    old = line.gateway.runtime.settings
    await asyncio.to_thread(backup, old, tmp_path / "backup.tar")
    async with line.rest() as http:
        await erase(line, http, await customer_of(line, "rita"))
    assert await export_log(line.gateway.runtime.database, tmp_path / "erasures") == 2
    log = (tmp_path / "erasures").read_text()
    assert "rita" not in log
    assert line.x.state.user("rita").id not in log

    url = await clone_database(server_url, "template0")
    try:
        settings = settings_for(url, old.data_dir)
        _, applied = await asyncio.to_thread(restore, settings, tmp_path / "backup.tar", erasures=tmp_path / "erasures")
        assert applied == 1
        async with open_runtime(settings) as runtime:
            assert await traces(runtime.database, "Wuppertal", "rita", line.x.state.user("rita").id) == []
            assert await traces(runtime.database, "invoice"), "the others are there"
            marks = Marks(runtime.vault)
            async with runtime.database.read() as connection:
                kept = await fetch_all(connection, "SELECT mark FROM erased WHERE kind = 'account'")
        assert [bytes(row["mark"]) for row in kept] == [marks.account("x", line.x.state.user("rita").id)]
    finally:
        await drop_database(url)


def test_a_damaged_line_of_the_erasure_log_is_named(tmp_path: Path) -> None:
    for text in ("{}", "[]", "nonsense", '{"mark": "00", "kind": "account", "erasure": "x", "until": "now"}'):
        (tmp_path / "log").write_text(f"\n{text}\n")
        with pytest.raises(LogUnreadable, match="line 2"):
            read_log(tmp_path / "log")


async def test_an_export_holds_all_that_is_known_of_a_customer_and_nothing_of_others(line: Any) -> None:
    line.x.post("rita", f"@AcmeSupport {WORDS}")
    await line.settle()
    line.x.post("bob", "@AcmeSupport where is my invoice?")
    await line.settle()
    await line.answer(1, ANSWER)
    async with line.rest() as http:
        answer = await http.get(f"/v1/customers/{await customer_of(line, 'rita')}/export")
        assert answer.status_code == 200
        data = answer.json()["data"]
        assert [one["handle"] for one in data["account"]] == ["rita"]
        assert {WORDS in one["text"] for one in data["interaction"]} == {True, False}
        assert [one["text"] for one in data["reply"]] == [ANSWER]
        assert WORDS in json.dumps(data["revision"])
        assert data["ticket"]
        assert data["delivery"]
        others = {name: rows for name, rows in data.items() if name != "delivery"}
        assert "invoice" not in json.dumps(others)
        assert (await http.get(f"/v1/customers/{UUID(int=1)}/export")).status_code == 404
        assert (await http.post(f"/v1/customers/{UUID(int=1)}/erasure", json={"reason": "x"})).status_code == 404


async def test_retention_takes_what_is_over_and_leaves_what_is_needed_or_known_again_by(line: Any) -> None:
    post = line.x.post("rita", f"@AcmeSupport {WORDS}")
    await line.settle()
    line.x.post("bob", "@AcmeSupport where is my invoice?")
    await line.settle()
    await line.answer(1, ANSWER)
    line.desk.set_status(1, "solved", "Ann")
    await line.desk.settle()
    await line.settle()
    # news of the publication waits a minute for company: whatever is still to be told keeps its matter
    await line.gateway.execute("UPDATE push SET due_at = :now", now=line.gateway.runtime.now())
    await line.settle()
    runtime = line.gateway.runtime
    counts, more = await expire(runtime, datetime.now(UTC) + timedelta(days=30))
    assert (dict(counts), more) == ({}, False)
    counts, more = await expire(runtime, datetime.now(UTC) + timedelta(days=2000))
    assert not more
    assert counts["texts"]
    assert counts["deliveries"]
    left = await traces(runtime.database, "Wuppertal", "order 4711")
    assert left == []
    assert await traces(runtime.database, "invoice"), "an open matter stays"
    assert await line.gateway.value("SELECT count(*) FROM delivery WHERE state IN ('processed', 'ignored')") == 0
    # told of once more, it is no news
    assert await line.gateway.value("SELECT count(*) FROM interaction WHERE external_id = :id", id=post) == 1
    await line.gateway.execute("UPDATE cursor SET cursor = NULL, next_at = :now", now=runtime.now())
    await line.settle()
    assert len(line.desk.tickets) == 2
    again, _ = await expire(runtime, datetime.now(UTC) + timedelta(days=2000))
    assert again["texts"] == 0
