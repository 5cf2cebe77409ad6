"""One schedule: a story on a stage, told while everything that can go wrong does, as a seed has it.

Whenever nothing in the loop can go on by itself, the schedule chooses: let a worker pass one boundary, begin a drain
that was woken, deliver a webhook, go on with the story, let time pass, or do harm. All choices come from one
`random.Random`, so a seed tells the same schedule again. At the end the harm stops, everything is let come to rest,
and the oracle looks.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import random
import re
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx2
from sqlalchemy.exc import DBAPIError

from gateway.api.door import Door
from gateway_schemas.testing.twin import Fault, Twin, WebhookBuilder
from support.gateway import IDLE, RESTS, Gateway
from torture.machine import CLOCK, Loop
from torture.oracle import Findings, judge
from torture.stage import DESKS, PLACES, Forum
from torture.story import Story
from torture.workers import Boundaries, Common, Gate, Worker, make_runtime

HARM = (
    "kill",
    "death in commit",
    "stall",
    "helpdesk",
    "source",
    "webhooks",
    "late webhooks",
    "hidden",
    "expired",
    "cut",
    "lost words",
    "doubled words",
)
STEPS = 4000
"""Choices after which a schedule is brought to its end."""
REST = 7 * 60.0
"""Virtual seconds of rest at the end: every stream is polled once more after everything hidden has come to light."""
AT_MOST = 6 * 3600.0
LATE = 15 * 60.0
"""Virtual seconds of rest beyond that, after which something waits that should not."""
AIMED = ("kill", "death in commit", "stall", "cut")
"""Harm that is done most of all where a worker changes something at a provider."""
WRITES = ("POST", "PUT")
TICK = 0.2
"""Virtual seconds between two looks for due rows: more often they find the same, and most steps would be theirs."""

NEXT = """
SELECT min(at) FROM (
    SELECT min(due_at) AS at FROM push WHERE state IN ('pending', 'job') AND due_at > :now
    UNION ALL SELECT min(GREATEST(deadline_at, due_at)) FROM push WHERE state = 'in_flight'
    UNION ALL SELECT min(due_at) FROM reply WHERE state IN ('received', 'queued', 'unknown') AND due_at > :now
    UNION ALL SELECT min(deadline_at) FROM reply WHERE state = 'sending'
    UNION ALL SELECT min(due_at) FROM wanted WHERE state = 'pending' AND due_at > :now
    UNION ALL SELECT min(wait_until) FROM revision WHERE state = 'waiting'
    UNION ALL SELECT min(next_at) FROM cursor WHERE next_at > :now
    UNION ALL SELECT min(blocked_until) FROM connection WHERE blocked_until > :now
    UNION ALL SELECT min(until) FROM lease WHERE until > :now
) AS due WHERE at > :now
"""

LIMBO = {
    "delivery not ended": "SELECT id, role, origin, state, reason FROM delivery WHERE state IN ('pending', 'failed')",
    "change not threaded": """SELECT id, revision, change, state, reason FROM revision
                              WHERE state IN ('pending', 'waiting', 'failed')""",
    "fetch not ended": "SELECT ref, kind, reason FROM wanted WHERE state = 'pending'",
    "push not done": """SELECT key, kind, state, code, reason FROM push
                        WHERE state IN ('pending', 'in_flight', 'job', 'failed')""",
    "reply in limbo": """SELECT id, state, code, reason FROM reply WHERE state IN ('received', 'queued', 'sending')
                         OR (state = 'unknown' AND (code IS DISTINCT FROM 'needs_person' OR NOT EXISTS (
                             SELECT 1 FROM push p WHERE p.reply_id = reply.id AND p.kind = 'mark'
                               AND p.state = 'done')))""",
    "ticket without a message": """SELECT id, external_id FROM ticket t WHERE ended IS NULL AND merged_into IS NULL
                                   AND followup_of IS NULL AND NOT EXISTS (
                                       SELECT 1 FROM interaction i WHERE i.ticket_id = t.id)""",
    # what was deleted at the source before anybody could tell is refused there, and the agent is told
    "reply failed": """SELECT id, state, code, reason FROM reply
                       WHERE state = 'failed' AND reason NOT LIKE '%is not here, or was deleted'""",
}


@dataclass
class Result:
    """How a schedule ended."""

    harm: tuple[str, ...]
    findings: Findings
    story: list[str]
    trace: list[str]
    steps: int
    counts: Counter[str] = field(default_factory=Counter)

    @property
    def digest(self) -> str:
        """The same for the same run."""
        return hashlib.sha256("\n".join(self.trace).encode()).hexdigest()[:12]


class Schedule:
    """One seed on one pair of plugins."""

    def __init__(
        self,
        seed: int,
        pair: str,
        common: Common,
        door: Door,
        url: str,
        forced: Sequence[str],
        steps: Sequence[str],
    ) -> None:
        self.forced, self.then = forced, steps
        self.seed, self.pair = seed, pair
        self.rng = random.Random(f"{pair} {seed}")
        self.common = common
        self.boundaries: Boundaries = common.boundaries
        self.loop: Loop = common.loop
        self.door, self.url = door, url
        self.trace: list[str] = []
        self.counts: Counter[str] = Counter()
        self.woken: dict[str, None] = {}
        self.webhooks: list[tuple[Twin, WebhookBuilder, int]] = []
        self.workers: list[Worker] = []
        self.errors: list[str] = []
        self.steps = 0
        self._born = 0
        self._settling = False
        self._paused = False
        self._stopped_at = CLOCK.now()
        self._ticked = 0.0
        self._late = 0
        self._resting = False
        self._until: list[tuple[float, Callable[[], Any], str]] = []
        self._beside: set[asyncio.Task[Any]] = set()

    async def run(self) -> Result:
        """From an empty database to the verdict."""
        place_name, _, desk_name = self.pair.partition(":")
        rng = self.rng
        self.place = Forum(echoes=rng.random() < 0.4) if place_name == "inbound" else PLACES[place_name]()
        self.desk = DESKS[desk_name]()
        self.harm = tuple(sorted({*rng.sample(HARM, rng.choice((0, 1, 1, 2, 2, 3))), *self.forced}))
        self.greed = rng.choice((0.3, 1.0, 1.0, 3.0))  # how eagerly drains begin beside those that run
        self.hurry = rng.choice((0.3, 1.0, 3.0, 10.0))  # how fast the story goes on
        self.common.woken = self._woken
        runtime = make_runtime(self.common, "door")
        self.gateway = Gateway(runtime, self.url)
        async with contextlib.AsyncExitStack() as stack:
            await stack.enter_async_context(self.place.twin.serve())
            await stack.enter_async_context(self.desk.twin.serve())
            await stack.enter_async_context(self.door.open(runtime))
            doubled = rng.random() < 0.3
            self.helpdesk = await self.desk.connect(self.gateway)
            self.sources = await self.place.connect(self.gateway, self.helpdesk, doubled)
            for twin in (self.place.twin, self.desk.twin):
                twin.carrier = lambda build, twin=twin: self._carry(twin, build)
            self.story = Story(rng, self.place, self.desk, doubled and len(self.sources) > 1)
            self.workers = [self._worker() for _ in range(rng.choice((1, 2, 2)))]
            await self._first_polls()
            if "hidden" in self.harm:
                self.place.hide(rng.choice((5.0, 20.0)))
                self.desk.hide(rng.choice((10.0, 60.0)))
            await self._tell()
            await self._come_to_rest()
            findings = judge(self.story, await self._limbo())
            stored = {row["external_id"] for row in await self.gateway.rows("SELECT external_id FROM interaction")}
            for message in self.story.messages:
                if len(mine := stored & set(message.ids)) > 1:
                    findings.add("doubled message", f"{message.words[-1]} is stored as {sorted(mine)}")
            for error in sorted(set(self.errors)):
                findings.add("error", error)
            for worker in self.workers:
                worker.kill()
                await worker.bury()
            self.boundaries.parked.clear()
            for task in self._beside:
                task.cancel()
            await asyncio.gather(*self._beside, return_exceptions=True)
            await runtime.outgoing.__aexit__(None, None, None)
        return Result(self.harm, findings, self.story.log, self.trace, self.steps, self.counts)

    # what happens

    async def _tell(self) -> None:
        plan = deque([*self.story.plan(), *self.then])
        settled = 0
        while plan or self._settling:
            await self.loop.until_idle()
            self._collect()
            self.steps += 1
            if self.steps > STEPS:
                break
            CLOCK.advance(self.rng.randint(1, 3) / 1000)
            for item in [one for one in self._until if one[0] <= CLOCK.seconds]:
                self._until.remove(item)
                self._note("over", item[2])
                await _call(item[1])
            if self._settling:
                settled += 1
                if settled > 600 or (settled % 5 == 0 and await self._quiet()):
                    self._settling, settled = False, 0
                    self._note("settled")
            options = self._options(plan)
            weights = [weight for weight, _ in options]
            await _call(self.rng.choices([act for _, act in options], weights)[0])

    def _options(self, plan: deque[str]) -> list[tuple[float, Callable[[], Any]]]:
        gates = [gate for gate in self.boundaries.parked if not gate.worker.stalled]
        running = sum(len(worker.drains_running) for worker in self.workers)
        stalled = any(worker.stalled for worker in self.workers)
        options: list[tuple[float, Callable[[], Any]]] = []
        if gates:
            options.append((12.0, lambda: self._release(self.rng.choice(gates))))
        if self.woken and len(self.workers) * 4 > running:
            options.append((6.0 if not gates else self.greed, self._begin_drain))
        if self.webhooks:
            options.append((3.0, self._deliver_one))
        if plan and not self._settling:
            options.append((0.5 * self.hurry, lambda: self._story_step(plan)))
        if CLOCK.seconds >= self._ticked + TICK:
            options.append((0.3 if gates else 1.5, self._tick))
        if not gates or stalled:
            options.append((1.0 if stalled else 0.4, lambda: self._pass(self.rng.choice((0.05, 0.3, 1.0, 2.5)))))
        if not gates and not self.woken and not self.webhooks:
            options.append((1.5, lambda: self._pass(self.rng.choice((0.5, 2.0, 7.0, 30.0)))))
        aimed = 4.0 if self._publishing() else 1.0 if self._writing() else 0.2
        options += [(aimed if name in AIMED else 0.25, harm) for name, harm in self._harms()]
        return options

    def _release(self, gate: Gate) -> None:
        self._note("go", f"{gate.worker.name} {gate.kind} {gate.detail}")
        self.boundaries.release(gate)

    def _begin_drain(self) -> None:
        name = self.rng.choice(list(self.woken))
        if "lost words" in self.harm and self.rng.random() < 0.3:
            del self.woken[name]
            self._note("lost word", name)
            return
        worker = self.rng.choice([one for one in self.workers if not one.stalled] or self.workers)
        if worker.begin(name):
            if "doubled words" not in self.harm or self.rng.random() < 0.5:
                del self.woken[name]
            self._note("begin", f"{worker.name} {name}")
        elif self.rng.random() < 0.5:
            del self.woken[name]  # the tick finds what the running one leaves

    def _tick(self) -> None:
        worker = self.rng.choice(self.workers)
        self._note("tick", worker.name)
        self._ticked = CLOCK.seconds
        worker.tick()

    def _pass(self, seconds: float) -> None:
        self._note("time", f"{seconds}")
        CLOCK.advance(seconds)

    async def _story_step(self, plan: deque[str]) -> None:
        step = plan.popleft()
        self._note("story", step)
        if step == "settle":
            self._settling = True
        elif step == "pause":
            self._paused = True
            self._stopped_at = CLOCK.now()
            await self.gateway.pause()
        elif step == "lift":
            if not await self._quiet():
                self.story.unheard()  # a late webhook outlasted the pause
            await self._lift()
        else:
            await self._look()
            self.story.rests = await self._quiet()
            self.story.act(step)
            self._note("told", self.story.log[-1])

    async def _lift(self) -> None:
        self._paused = False
        self.story.pauses.append((self._stopped_at, CLOCK.now()))
        await self.gateway.lift()

    async def _look(self) -> None:
        """What the gateway has taken in by now."""
        ids = {row["external_id"] for row in await self.gateway.rows("SELECT external_id FROM interaction")}
        open_ = await self.gateway.value(
            """SELECT (SELECT count(*) FROM delivery WHERE state = 'pending')
                    + (SELECT count(*) FROM revision WHERE state IN ('pending', 'waiting'))
                    + (SELECT count(*) FROM wanted WHERE state = 'pending')"""
        )
        told = not any(twin is self.place.twin for twin, _, _ in self.webhooks) and not self._late and not open_
        self.story.known = frozenset(
            one.words[0] for one in self.story.messages if told and ids & {i.removeprefix("dm:") for i in one.ids}
        )
        self.story.knows_all = told and self.place.tells_deletions

    def _carry(self, twin: Twin, build: WebhookBuilder) -> None:
        """A twin sends a webhook; with bad luck it takes a while."""
        if "late webhooks" not in self.harm or self._resting or self.rng.random() < 0.5:
            self.webhooks.append((twin, build, 0))
            return
        seconds = self.rng.choice((2.0, 6.0, 30.0, 90.0))
        self._note("late webhook", f"{twin.name} {seconds}")
        self.counts["late webhook"] += 1
        self._late += 1

        def over() -> None:
            self._late -= 1
            self.webhooks.append((twin, build, 0))

        self._until.append((CLOCK.seconds + seconds, over, f"late webhook {twin.name}"))

    def _deliver_one(self) -> None:
        index = self.rng.randrange(len(self.webhooks)) if "webhooks" in self.harm else 0
        twin, build, tries = self.webhooks.pop(index)
        polled = self.place.polled if twin is self.place.twin else True
        if "webhooks" in self.harm:
            dice = self.rng.random()
            if dice < 0.15:
                self.webhooks.append((twin, build, tries))  # once more, later
                self.counts["duplicated webhook"] += 1
            elif dice < 0.25 and polled:
                self._note("dropped webhook", twin.name)
                self.counts["dropped webhook"] += 1
                self.story.unheard()
                return
        self._note("webhook", twin.name)
        self._aside(self._deliver(twin, build, tries))

    async def _deliver(self, twin: Twin, build: WebhookBuilder, tries: int) -> None:
        url, headers, body = build()
        status = 0
        with contextlib.suppress(httpx2.TransportError):
            status = (await twin.client.post(url, content=body, headers=headers)).status_code
        if not 200 <= status < 300:
            self._note("refused webhook", f"{twin.name} {status}")
            if tries < 5 and twin.retry_webhooks:
                self.webhooks.append((twin, build, tries + 1))

    def _aside(self, coroutine: Any) -> None:
        task = asyncio.ensure_future(coroutine)
        self._beside.add(task)
        task.add_done_callback(self._beside.discard)

    def _woken(self, name: str) -> None:
        self.woken[name] = None

    # harm

    def _writing(self, path: str = "") -> list[Worker]:
        """Who is about to change something at a provider, or has just done so: the worst moment to go."""
        gates = [one for one in self.boundaries.parked if one.kind in ("request", "response")]
        there = {one.worker.name for one in gates if one.detail.startswith(WRITES) and re.search(path, one.detail)}
        return [worker for worker in self.workers if worker.name in there and not worker.stalled]

    def _publishing(self) -> list[Worker]:
        """Who publishes, or is about to: that is rare, and the worst moment of all."""
        claimed = {
            one.worker.name
            for one in self.boundaries.parked
            if one.kind == "committed" and one.detail.startswith("send:")
        }
        there = [worker for worker in self.workers if worker.name in claimed and not worker.stalled]
        return there + self._writing(self.place.call.replace("$", r"( \d+)?$"))

    def _victim(self) -> Worker:
        """Mostly one at the worst moment."""
        writing = self._publishing() or (self._writing() if self.rng.random() < 0.6 else [])
        busy = [one for one in self.workers if one.drains_running and not one.stalled]
        return self.rng.choice(writing or busy or self.workers)

    def _harms(self) -> list[tuple[str, Callable[[], Any]]]:
        harms: dict[str, Callable[[], Any]] = {
            "kill": self._kill,
            "death in commit": self._die_in_commit,
            "stall": self._stall,
            "helpdesk": self._fail_helpdesk,
            "source": self._fail_source,
            "expired": self._expire,
            "cut": self._cut,
        }
        most = 7 if self._publishing() else 4
        return [(name, harms[name]) for name in self.harm if name in harms and self.counts[name] < most]

    async def _kill(self) -> None:
        worker = self._victim()
        self._note("kill", worker.name)
        self.counts["kill"] += 1
        worker.kill()
        await self._replace(worker)

    async def _replace(self, worker: Worker) -> None:
        await worker.bury()
        self._errors_of(worker)
        self.boundaries.parked = [gate for gate in self.boundaries.parked if gate.worker is not worker]
        self.workers[self.workers.index(worker)] = self._worker()

    def _die_in_commit(self) -> None:
        worker = self._victim()
        self._note("death in commit", worker.name)
        self.counts["death in commit"] += 1
        worker.dies_at = "commit"

    def _stall(self) -> None:
        worker = self._victim()
        if worker.stalled:
            return
        # long enough, where something is about to go out, for another to take it for dead and do its work
        seconds = self.rng.choice((20.0, 90.0, 90.0) if worker in self._publishing() else (2.0, 4.0, 9.0, 20.0, 90.0))
        self._note("stall", f"{worker.name} {seconds}")
        self.counts["stall"] += 1
        worker.stalled = True

        def over() -> None:
            worker.stalled = False

        self._until.append((CLOCK.seconds + seconds, over, "stall"))

    def _fail_helpdesk(self) -> None:
        self.counts["helpdesk"] += 1
        fault = self._fault(self.desk.writes, "POST|PUT")
        self.desk.twin.faults.append(fault)

    def _fail_source(self) -> None:
        self.counts["source"] += 1
        self.place.twin.faults.append(self._fault(self.place.call, self.place.method))

    def _fault(self, path: str, method: str) -> Fault:
        kind = self.rng.choice(("429", "503", "500 after", "drop after", "timeout after", "timeout after", "reads"))
        times = self.rng.choice((1, 1, 2))
        self._note("fault", f"{kind} {path} {times}")
        if kind == "429":
            return Fault("status_before", path, method, status=429, headers={"Retry-After": "3"}, times=times)
        if kind == "503":
            return Fault("status_before", path, method, status=503, times=times)
        if kind == "500 after":
            return Fault("status_after", path, method, status=500, times=times)
        if kind == "drop after":
            return Fault("drop_after", path, method, times=times)
        if kind == "timeout after":
            return Fault("timeout_after", path, method, seconds=self.rng.choice((1.0, 4.0, 8.0)), times=times)
        return Fault("status_before", ".*", "GET", status=503, times=times)

    def _expire(self) -> None:
        if self.rng.random() < 0.3:
            self.place.expire()
        if self.desk.twin.expired:
            return
        self._note("expired")
        self.counts["expired"] += 1
        self.desk.twin.expired = True
        self._until.append((CLOCK.seconds + self.rng.choice((2.0, 15.0)), self._renew, "expired"))

    async def _renew(self) -> None:
        self.desk.twin.expired = False
        await self.gateway.execute(
            """UPDATE connection SET status = 'active', status_reason = NULL, version = version + 1
               WHERE status = 'needs_authorisation'"""
        )
        self.gateway.runtime.connections.forget(self.helpdesk)

    def _cut(self) -> None:
        worker, when = self._victim(), self.rng.choice(("before", "after"))
        self._note("cut", f"{worker.name} {when}")
        self.counts["cut"] += 1
        self.boundaries.cuts[worker.name] = when

    # the end

    async def _come_to_rest(self) -> None:
        """No more harm; what was begun is let end, step by step, and every stream is polled once more."""
        self._note("rest")
        self._resting = True
        for twin in (self.place.twin, self.desk.twin):
            twin.faults.clear()
        self.boundaries.cuts.clear()
        for worker in self.workers:
            worker.stalled, worker.dies_at = False, ""
        for _, over, _ in self._until:
            await _call(over)
        self._until.clear()
        if self._paused:
            await self._lift()
        await self._renew()
        began, turn, looked = CLOCK.seconds, 0, -1.0
        while True:
            await self.loop.until_idle()
            self._collect()
            self.steps += 1
            CLOCK.advance(0.001)
            if self.boundaries.parked:
                self._release(self.boundaries.parked[0])
            elif self.webhooks:
                twin, build, tries = self.webhooks.pop(0)
                self._note("webhook", twin.name)
                self._aside(self._deliver(twin, build, tries))
            elif self.woken:
                turn += 1
                name = next(iter(self.woken))
                del self.woken[name]
                self._note("begin", name)
                self.workers[turn % len(self.workers)].begin(name)
            elif any(worker.drains_running for worker in self.workers) or self._beside:
                CLOCK.advance(0.2)
            elif CLOCK.seconds - looked > 0.5:
                await self._renew()  # whoever is told only now that the credentials had expired
                self.workers[0].tick()
                looked = CLOCK.seconds + 0.5
                CLOCK.advance(0.6)
            elif CLOCK.seconds > began + AT_MOST or (CLOCK.seconds > began + REST and await self._over()):
                if CLOCK.seconds > began + REST + LATE:
                    self.errors.append(f"came to rest only after {(CLOCK.seconds - began) / 60:.0f} minutes")
                return
            else:
                due = await self.gateway.value(NEXT, now=CLOCK.now())
                wait = (due - CLOCK.now()).total_seconds() if due else 60.0
                CLOCK.advance(min(max(wait, 0.0), 120.0) + 0.01)
                looked = -1.0

    async def _quiet(self) -> bool:
        if self.boundaries.parked or self.woken or self.webhooks or self._late or self._beside:
            return False
        if any(worker.drains_running for worker in self.workers):
            return False
        sql = RESTS if self._paused else IDLE  # what waits for the end of a pause is settled
        return bool(await self.gateway.value(sql, now=CLOCK.now()) == 0)

    async def _over(self) -> bool:
        """Whether nothing is left, also of what may wait a while, as the note that an answer is out does."""
        left = await self.gateway.value("SELECT count(*) FROM push WHERE state = 'pending'")
        return left == 0 and await self._quiet()

    async def _limbo(self) -> dict[str, list[Any]]:
        return {kind: [dict(row) for row in await self.gateway.rows(sql)] for kind, sql in LIMBO.items()}

    async def _first_polls(self) -> None:
        """The streams' first polls find nothing yet: what happens from here on is news."""
        for row in await self.gateway.rows("SELECT connection_id, stream FROM cursor ORDER BY 1, 2"):
            self.workers[0].begin(f"poll:{row['connection_id']}:{row['stream']}")
            while self.workers[0].drains_running:
                await self.loop.until_idle()
                if self.boundaries.parked:
                    self.boundaries.release(self.boundaries.parked[0])
                else:
                    CLOCK.advance(0.1)
        CLOCK.advance(1.0)

    # books

    def _worker(self) -> Worker:
        self._born += 1
        return Worker(f"worker-{self._born}", self.common)

    def _collect(self) -> None:
        for worker in list(self.workers):
            self._errors_of(worker)
            if not worker.alive:
                self._aside(self._replace_later(worker))
                self.workers[self.workers.index(worker)] = self._worker()

    async def _replace_later(self, worker: Worker) -> None:
        await worker.bury()

    def _errors_of(self, worker: Worker) -> None:
        for text, error in worker.errors:
            if not isinstance(error, DBAPIError) or "cut" not in self.harm:
                self.errors.append(f"{worker.name}: {text}")
        worker.errors.clear()

    def _note(self, what: str, detail: str = "") -> None:
        self.trace.append(f"{CLOCK.seconds:.3f} {what} {detail}")


async def _call(act: Callable[[], Any]) -> None:
    done = act()
    if asyncio.iscoroutine(done):
        await done
