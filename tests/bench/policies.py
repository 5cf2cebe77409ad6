"""The rows of the policies: a reply checked in process, and deciding alone, with the shipped policies in force.

The rows of the drain have the shipped policies in force as well; deciding alone shows a policy that is slow.
"""

from __future__ import annotations

import statistics
import time
from datetime import datetime

from bench.figures import Figure, milliseconds, percentile
from bench.ground import Ground, settings
from gateway.api.reply_check import Answered, Check, check
from gateway.engine.judge import Ask, Bench
from gateway.engine.memory import keep
from gateway.policy.engine import Question, evaluate_all, spec_of
from gateway.policy.sets import Place
from gateway.runtime import Runtime, open_runtime
from gateway_schemas.decision import Case
from gateway_schemas.interaction import Author, Interaction, ReplyTarget
from gateway_schemas.reply import Rendered

ROWS = ("reply check", "deciding")
CHECKS = 500
WARM = 20
BATCH = 500
ROUNDS = 10
BUDGET_MS = 5.0
PER_SECOND = 1000
REPLY = (
    "Hello Rita, I am sorry that your parcel has been stuck for a week; that should not have happened. I have asked the"
    " depot to look for it today and will write to you here by tomorrow evening with what they found. If it is lost, we"
    " send it again or give you your money back, as you prefer. Ann from the service team."
)[:296]


async def measure(ground: Ground) -> list[Figure]:
    """Both rows, on a database of their own."""
    async with ground.database() as url, open_runtime(settings(ground.folder / "policies", url)) as runtime:
        await runtime.sandbox.warm()
        keep()  # as a server does
        return [await _reply_check(runtime), await _deciding(runtime)]


async def _reply_check(runtime: Runtime) -> Figure:
    """A reply of 300 characters, another one each time: what was read once is remembered."""
    took = []
    for number in range(CHECKS + WARM):
        given = Check(
            reply=f"{REPLY}{number:04}", interaction=Answered(source="x", kind="post", text="Where is my parcel?")
        )
        began = time.perf_counter()
        await check(runtime, given)
        took.append(time.perf_counter() - began)
    alone = await _alone(runtime)
    slowest = percentile(took[WARM:], 0.99) * 1000
    floor = statistics.median(alone) * 1000
    return Figure(
        row="reply check",
        measured=f"{slowest:.2f} ms (p99), with the way to the sandbox and back",
        floor=f"{floor:.2f} ms for the policies themselves",
        ratio=round(slowest / floor, 2),
        budget=f"p99 <= {BUDGET_MS:g} ms",
        met=slowest <= BUDGET_MS,
        numbers=milliseconds(took[WARM:]),
    )


async def _alone(runtime: Runtime) -> list[float]:
    """What the policies take in this process."""
    bench = Bench.of(runtime.registry)
    now = runtime.now()
    members = (await runtime.policies.in_force(now)).asked("review_reply", Place("x", "post", "public"))
    specs = [spec_of(one) for one in members]
    target = ReplyTarget(kind="comment", ref="1")
    took = []
    for number in range(CHECKS + WARM):
        text = f"{REPLY}{number:04}"
        rendered = Rendered(text=text, account="a", target=target, visibility="public", length=len(text))
        ask = Ask("review_reply", Case(now=now, source="x"), rendered, tuple(range(len(specs))))
        began = time.perf_counter()
        said = bench.judge(ask, specs, lambda call: call())
        took.append(time.perf_counter() - began)
        assert all(one.ok for one in said)
    return took[WARM:]


async def _deciding(runtime: Runtime) -> Figure:
    """Batches of messages by customers of their own, one round trip each."""
    now = runtime.now()
    members = (await runtime.policies.in_force(now)).asked("on_interaction", Place("x", "post", "public"))
    rates = []
    for round_ in range(ROUNDS):
        questions = [
            Question("on_interaction", Case(now=now, source="x"), _said(round_ * BATCH + number, now), members)
            for number in range(BATCH)
        ]
        began = time.perf_counter()
        await evaluate_all(runtime.sandbox, questions)
        rates.append(BATCH / (time.perf_counter() - began))
    rate = statistics.median(rates)
    return Figure(
        row="deciding",
        measured=f"{rate:,.0f} messages a second by {len(members)} policies",
        floor="",
        ratio=None,
        budget=f">= {PER_SECOND:,} a second",
        met=rate >= PER_SECOND,
        numbers={"per_second": round(rate), "policies": len(members)},
    )


def _said(number: int, now: datetime) -> Interaction:
    return Interaction(
        external_id=str(number),
        revision="1",
        account="brand",
        kind="post",
        visibility="public",
        author=Author(external_id=f"user{number}", handle=f"user{number}"),
        text=f"My order {number} is late, please help me with that. " * 2,
        published_at=now,
    )
