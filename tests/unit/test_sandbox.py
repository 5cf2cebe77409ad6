"""Plugin code that hangs, dies or answers nonsense costs its own item and nobody else's."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

import psutil
import pytest

from gateway.connections import Endpoint
from gateway.db.tables.columns import new_id
from gateway.engine.sandbox import Ask, Outcome, Said, Sandbox, Spec
from gateway_schemas.decision import Case, Severity
from gateway_schemas.interaction import ReplyTarget
from gateway_schemas.reply import Draft, Rendered
from gateway_schemas.time import SharedTime
from gateway_schemas.webhook import RawDelivery
from support.plugins import MODULE, said
from support.repository import ROOT

DEADLINE = 0.6
NOW = datetime(2026, 3, 12, 10, 15, tzinfo=UTC)


def endpoint(plugin: str = "wild", **changes: Any) -> Endpoint:
    """A connection to the test plugin."""
    return Endpoint(
        **{
            "id": new_id(),
            "role": "source",
            "plugin": plugin,
            "name": plugin,
            "is_app": False,
            "version": 1,
            "app_id": None,
            "brand_id": None,
            "account": "brand",
            "config": {},
            "app_config": None,
            **changes,
        }
    )


def delivery(do: str, **order: Any) -> RawDelivery:
    """A delivery that makes the test plugin behave this way."""
    return RawDelivery(id="1", origin="webhook", body=json.dumps({"do": do, **order}).encode(), received_at=NOW)


def texts(outcomes: list[Outcome]) -> list[str]:
    """What was said, or the code of what went wrong."""
    return [outcome.values[0].text if outcome.ok else outcome.code for outcome in outcomes]


@pytest.fixture(scope="module")
async def sandbox() -> AsyncIterator[Sandbox]:
    """A warm sandbox with a short deadline. One for all: every test leaves its children worse than it found them."""
    made = Sandbox(DEADLINE, modules=[MODULE])
    await made.warm()
    try:
        yield made
    finally:
        await asyncio.to_thread(made.close)


async def test_code_that_hangs_is_killed_at_its_deadline_and_costs_its_own_item_only(sandbox: Sandbox) -> None:
    ways = ["hang", "cling", "lazy", "backtrack"]  # in Python, catching everything, in a generator, in C
    batch = [delivery("say", text="a"), *map(delivery, ways), delivery("say", text="b")]
    async with asyncio.timeout(60):
        outcomes = await sandbox.normalise(endpoint(), batch)
    assert texts(outcomes) == ["a", *["deadline"] * len(ways), "b"]
    assert outcomes[1].reason == "the plugin's code ran longer than 0.6 s and was killed"


@pytest.mark.parametrize(
    ("way", "code", "reason"),
    [
        ("exit", "died", "exit code 7"),
        ("leave", "plugin_bug", "SystemExit in _leave (plugins.py:"),
        ("interrupt", "plugin_bug", "KeyboardInterrupt in _interrupt (plugins.py:"),
        ("raise", "plugin_bug", "ValueError in _raise (plugins.py:"),
        ("recurse", "plugin_bug", "RecursionError in _recurse (plugins.py:"),
        ("local", "plugin_bug", "AttributeError in "),
        ("junk", "plugin_bug", "AttributeError in clean_model"),
        ("deep", "plugin_bug", " in "),
        ("no such way", "plugin_bug", "KeyError in normalise"),
    ],
)
async def test_only_the_culprit_of_a_batch_fails_and_its_reason_names_the_place(
    sandbox: Sandbox, way: str, code: str, reason: str
) -> None:
    outcomes = await sandbox.normalise(
        endpoint(), [delivery("say", text="a"), delivery(way), delivery("say", text="b")]
    )
    assert texts(outcomes) == ["a", code, "b"]
    assert reason in outcomes[1].reason


async def test_what_a_plugin_quotes_when_it_refuses_can_be_stored(sandbox: Sandbox) -> None:
    [refused] = await sandbox.normalise(endpoint(), [delivery("refuse", text="\x00\ud83d")])
    assert refused == Outcome(code="malformed", reason="cannot read \ufffd\ufffd")


async def test_values_come_back_fit_to_be_stored(sandbox: Sandbox) -> None:
    [outcome] = await sandbox.normalise(endpoint(), [delivery("dirty")])
    [value] = outcome.values
    assert value.text == "a\ufffdb\ufffdc"
    assert value.extra == {"k\ufffd": ["\ufffd", None]}


async def test_a_child_killed_from_outside_is_nobodys_fault(sandbox: Sandbox, tmp_path: Path) -> None:
    alone = await sandbox.normalise(endpoint(), [delivery("exit_once", mark=str(tmp_path / "alone"))])
    assert texts(alone) == ["the second time"]
    batch = [delivery("say", text="a"), delivery("exit_once", mark=str(tmp_path / "batch"))]
    assert texts(await sandbox.normalise(endpoint(), batch)) == ["a", "the second time"]


async def test_a_child_that_dies_while_it_has_nothing_to_do_is_replaced(sandbox: Sandbox) -> None:
    one = endpoint()
    for _ in range(2):
        assert texts(await sandbox.normalise(one, [delivery("exit_later")])) == ["goodbye"]
        await asyncio.sleep(0.5)
        assert texts(await sandbox.normalise(one, [delivery("say", text="back")])) == ["back"]


async def test_a_child_that_was_killed_while_others_wait_for_it_is_replaced(sandbox: Sandbox) -> None:
    [said_pid] = texts(await sandbox.normalise(endpoint(), [delivery("pid")]))
    os.kill(int(said_pid), signal.SIGKILL)
    many = [sandbox.normalise(endpoint(), [delivery("say", text=str(number))]) for number in range(8)]
    assert [texts(one) for one in await asyncio.wait_for(asyncio.gather(*many), 20)] == [[str(n)] for n in range(8)]


async def test_other_connections_go_on_while_one_hangs_again_and_again(sandbox: Sandbox) -> None:
    culprit, neighbour = endpoint(), endpoint()
    await sandbox.normalise(culprit, [delivery("hang")])  # known from here on

    hanging = asyncio.create_task(sandbox.normalise(culprit, [delivery("hang"), delivery("hang"), delivery("hang")]))
    waits: list[float] = []
    answered = 0
    while not hanging.done():
        began = time.monotonic()
        assert texts(await sandbox.normalise(neighbour, [delivery("say", text="fine")])) == ["fine"]
        waits.append(time.monotonic() - began)
        answered += 1
        await asyncio.sleep(0.05)
    assert texts(await hanging) == ["deadline"] * 3
    assert answered > 5
    # the first one may wait for the child that took the killed one's place
    assert statistics.median(waits) < DEADLINE / 2


async def test_a_healthy_item_of_a_suspect_is_still_heard(sandbox: Sandbox) -> None:
    culprit = endpoint()
    await sandbox.normalise(culprit, [delivery("hang")])
    assert texts(await sandbox.normalise(culprit, [delivery("say", text="well again")])) == ["well again"]


async def test_order_is_kept_and_nothing_is_asked_for_nothing(sandbox: Sandbox) -> None:
    assert await sandbox.normalise(endpoint(), []) == []
    batch = [delivery("say", text=str(number)) for number in range(300)]
    assert texts(await sandbox.normalise(endpoint(), batch)) == [str(number) for number in range(300)]


async def test_a_plugin_may_print_as_much_as_it_likes(sandbox: Sandbox, capfd: pytest.CaptureFixture[str]) -> None:
    assert texts(await sandbox.normalise(endpoint(), [delivery("shout")])) == ["shouted"]


async def test_a_missing_plugin_and_a_config_it_no_longer_takes_are_said_in_words(sandbox: Sandbox) -> None:
    [missing] = await sandbox.normalise(endpoint("gone"), [delivery("say")])
    assert missing == Outcome(code="misconfigured", reason="source plugin 'gone' is not installed or is broken")
    [wrong] = await sandbox.normalise(endpoint(config={"token": 5}), [delivery("say")])
    assert wrong == Outcome(code="misconfigured", reason="wild: token: Input should be a valid string")


async def test_a_changed_connection_gets_a_new_instance(sandbox: Sandbox) -> None:
    one = endpoint(config={"token": 5})
    assert texts(await sandbox.normalise(one, [delivery("say", text="x")])) == ["misconfigured"]
    mended = endpoint(id=one.id, version=2)
    assert texts(await sandbox.normalise(mended, [delivery("say", text="x")])) == ["x"]


async def test_installed_plugins_are_loaded_too(sandbox: Sandbox) -> None:
    [outcome] = await sandbox.normalise(
        endpoint("x"), [RawDelivery(id="1", origin="webhook", body=b"{", received_at=NOW)]
    )
    assert outcome.code in ("misconfigured", "not_json", "malformed"), outcome


async def test_rendering_happens_in_the_child_too(sandbox: Sandbox) -> None:
    drafts = [
        Draft(
            reply_id=str(number),
            text=text,
            account="brand",
            target=ReplyTarget(kind="comment", ref="1"),
            visibility="public",
            interaction=said("where is my parcel?"),
        )
        for number, text in enumerate(("hello", "", "goodbye"))
    ]
    hello, refused, goodbye = await sandbox.render(endpoint(), drafts)
    assert (hello.values[0].text, goodbye.values[0].text) == ("HELLO", "GOODBYE")
    assert refused == Outcome(code="empty", reason="there is nothing to say")


WILD = [Spec(do, "wild", {"do": do}) for do in ("find", "hang", "raise")] + [Spec("gone", "gone", {})]


def question(*specs: int, text: str = "sorry") -> Ask:
    """An answer, put to some of the wild policies."""
    rendered = Rendered(
        text=text, account="brand", target=ReplyTarget(kind="comment", ref="1"), visibility="public", length=len(text)
    )
    return Ask("review_reply", Case(now=NOW, source="wild"), rendered, specs)


async def test_policies_hang_and_break_one_by_one(sandbox: Sandbox) -> None:
    both, one = await sandbox.judge(WILD, [question(0, 1, 2, 3), question(0, 3, text="pardon")])
    found, hang, broken, gone = both
    assert [(each.severity, each.message) for each in found.values] == [(Severity.hold, "seen sorry\ufffd")]  # type: ignore[union-attr]
    assert (hang.code, broken.code) == ("deadline", "plugin_bug")
    assert gone == Said(code="misconfigured", reason="policy type 'gone' is not installed or is broken")
    assert broken.reason.startswith("ValueError in review_reply")
    assert [each.message for each in one[0].values] == ["seen pardon\ufffd"]  # type: ignore[union-attr]


async def test_a_policy_that_keeps_hanging_is_not_asked_for_a_while() -> None:
    sandbox = Sandbox(DEADLINE, modules=[MODULE])
    try:
        await sandbox.warm()
        said = await sandbox.judge(WILD, [question(0, 1, text=str(number)) for number in range(40)])
        assert all(found.ok for found, _ in said), "the other policies answer"
        codes = [hang.code for _, hang in said]
        assert set(codes) == {"deadline", "suspended"}
        assert codes.count("deadline") < 5
        [[found, hang]] = await sandbox.judge(WILD, [question(0, 1)])
        assert (found.ok, hang.code) == (True, "suspended")
    finally:
        await asyncio.to_thread(sandbox.close)


async def test_what_comes_while_the_first_child_starts_waits_without_the_loop(sandbox: Sandbox) -> None:
    other = Sandbox(DEADLINE, modules=[MODULE])
    server: Any = forkserver._forkserver
    goes_on = threading.Event()

    def go_on() -> None:
        goes_on.set()
        os.kill(server._forkserver_pid, signal.SIGCONT)

    os.kill(server._forkserver_pid, signal.SIGSTOP)
    later = threading.Timer(5.0, go_on)
    later.start()
    try:
        warming = asyncio.create_task(other.warm())
        await asyncio.sleep(0)
        coming = asyncio.create_task(other.normalise(endpoint(), [delivery("say", text="x")]))
        await asyncio.sleep(0.2)
        assert not goes_on.is_set(), "the loop stood still until the child was there"
        go_on()
        assert texts(await coming) == ["x"]
        await warming
    finally:
        later.cancel()
        go_on()
        await asyncio.to_thread(other.close)


async def test_the_child_lives_in_the_shared_time(tmp_path: Path) -> None:
    SharedTime.create(tmp_path / "time", at=NOW, speed=0)
    sandbox = Sandbox(DEADLINE, str(tmp_path / "time"), [MODULE])
    try:
        assert texts(await sandbox.normalise(endpoint(), [delivery("say", text="x")])) == ["x"]
    finally:
        await asyncio.to_thread(sandbox.close)


async def test_a_child_that_cannot_start_is_said_and_not_blamed_on_the_item(tmp_path: Path) -> None:
    (tmp_path / "deadly.py").write_text("import os\nos._exit(3)\n")
    sys.path.insert(0, str(tmp_path))
    sandbox = Sandbox(DEADLINE, modules=["deadly"])
    try:
        with pytest.raises(RuntimeError):
            await asyncio.wait_for(sandbox.normalise(endpoint(), [delivery("say")]), 20)
    finally:
        sys.path.remove(str(tmp_path))
        await asyncio.to_thread(sandbox.close)


async def test_closing_ends_the_children_also_one_that_hangs() -> None:
    sandbox = Sandbox(DEADLINE, modules=[MODULE])
    [pid] = texts(await sandbox.normalise(endpoint(), [delivery("pid")]))
    child = psutil.Process(int(pid))
    hanging = asyncio.create_task(sandbox.normalise(endpoint(), [delivery("backtrack")]))
    await asyncio.sleep(0.2)
    await asyncio.to_thread(sandbox.close)
    assert not child.is_running()
    hanging.cancel()
    await asyncio.gather(hanging, return_exceptions=True)


def test_a_new_child_is_there_soon() -> None:
    """Others wait for the one that takes a killed one's place: it imports no database and no web framework."""
    code = "import sys, gateway.engine.child; print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert not {"sqlalchemy", "fastapi", "procrastinate", "alembic", "cryptography"} & set(ran.stdout.split())


HOST = """
import asyncio, datetime, sys, uuid
sys.path[:0] = sys.argv[1:]
from gateway.connections import Endpoint
from gateway.engine.sandbox import Sandbox
from gateway_schemas.webhook import RawDelivery

async def main():
    sandbox = Sandbox(600, modules=["support.plugins"])
    one = Endpoint(uuid.uuid4(), "source", "wild", "wild", False, 1, None, None, "brand", {}, None)
    for do in ("pid", "backtrack"):
        raw = RawDelivery("1", "webhook", b'{"do": "%s"}' % do.encode(), datetime.datetime.now(datetime.UTC))
        [outcome] = await sandbox.normalise(one, [raw])
        print(outcome.values[0].text, flush=True)

if __name__ == "__main__":
    asyncio.run(main())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a child with its parent")
async def test_a_hanging_child_does_not_outlive_a_worker_that_was_killed(tmp_path: Path) -> None:
    (tmp_path / "host.py").write_text(HOST)
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(tmp_path / "host.py"), str(ROOT / "tests"), stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        child = psutil.Process(int(await asyncio.wait_for(process.stdout.readline(), 30)))
        await asyncio.sleep(0.2)
        assert child.is_running()
    finally:
        process.kill()
        await process.wait()
    try:
        await asyncio.to_thread(child.wait, 5)
    except psutil.TimeoutExpired:
        child.kill()
        raise
