"""The stage of `gateway plugin dev`: a plugin and its twin in one process, on real time, and a prompt."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import threading
import traceback
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import httpx2
import uvicorn

from gateway_schemas.authoring.dev import ENDED
from gateway_schemas.errors import GatewayError, Unknown
from gateway_schemas.helpdesk import Helpdesk
from gateway_schemas.interaction import Interaction
from gateway_schemas.reply import Draft, SendIntent
from gateway_schemas.testing.adapters import NotOffered
from gateway_schemas.testing.in_process import DoorTransport
from gateway_schemas.testing.stage import Stage
from gateway_schemas.testing.twin_faults import SkewedTime
from gateway_schemas.ticket import OutgoingComment, Requester, TicketChange

POLL_EVERY = 10.0
RITA = Requester(external_id="dev:rita", name="Rita Example", handle="rita", provider="dev")

Command = Callable[..., Coroutine[Any, Any, None]]


async def play(contract: Any, port: int) -> None:
    """Install, play one round, then do what is typed until the process is ended."""
    clock = SkewedTime()
    adapter = contract.adapter(clock)
    async with adapter.running() as http, _page(adapter.twin, port) as url:
        stage: Stage[Any, Any] = Stage(contract.plugin, adapter, clock, http)  # type: ignore[arg-type]
        adapter.twin.carrier = stage.carried.append
        adapter.twin.client = httpx2.AsyncClient(transport=DoorTransport(stage.door, clock))
        player = HelpdeskPlayer(stage) if issubclass(contract.plugin, Helpdesk) else SourcePlayer(stage)
        say(f"{contract.plugin.name} runs against its twin, whose state is at {url}/_twin")
        await player.attempt(player.begin())
        say(f"type one of: {', '.join(player.commands)}, poll, quit")
        listening = asyncio.create_task(player.listen())
        try:
            await _obey(player)
        finally:
            listening.cancel()


class Player:
    """What both kinds share: hearing of news, and saying what went wrong."""

    def __init__(self, stage: Stage[Any, Any]) -> None:
        self.stage = stage
        self.known: set[str] = set()
        self.commands: dict[str, Command] = {}
        self._one_at_a_time = asyncio.Lock()

    async def begin(self) -> None:
        """The round that is played at the start."""
        await self.stage.install()

    async def hear(self, *, poll: bool = True) -> list[Any]:
        """What the plugin tells now; each thing is printed once."""
        news = await self.stage.webhooks()
        if poll and self.stage.capabilities.poll:
            news += await self.stage.polled()
        news = await self.stage.follow(news)
        for item in news:
            said = json.dumps({type(item).__name__: item.model_dump(mode="json", exclude_defaults=True)})
            if said not in self.known:
                self.known.add(said)
                say(f"  in   {said}")
        return news

    async def listen(self) -> None:
        """Hear of what is done on the twin's page."""
        waited = 0.0
        while True:
            await asyncio.sleep(0.5)
            waited += 0.5
            due = waited >= POLL_EVERY
            if due or self.stage.carried:
                waited = 0.0 if due else waited
                await self.attempt(self.hear(poll=due))

    async def attempt(self, work: Coroutine[Any, Any, Any]) -> None:
        """Do it; an error is printed, and nothing ends."""
        async with self._one_at_a_time:
            try:
                await work
            except (GatewayError, NotOffered) as error:
                say(f"  !    {type(error).__name__}: {error}")
            except (LookupError, ValueError, TypeError) as error:
                say("".join(traceback.format_exception_only(error)).strip())
            except AssertionError as error:  # the kit's own words on a fault
                say(f"  !    {error}")


class SourcePlayer(Player):
    """A customer writes, an agent answers."""

    def __init__(self, stage: Stage[Any, Any]) -> None:
        super().__init__(stage)
        self.commands = {"write TEXT": self.write, "answer ID TEXT": self.answer}
        self.heard: dict[str, Interaction] = {}

    async def begin(self) -> None:
        """A customer writes and is answered."""
        await super().begin()
        id = await self.write("My parcel is late")
        if self.stage.capabilities.reply:
            await self.answer(id, "We are looking for it.")

    async def write(self, text: str) -> Any:
        """A customer writes."""
        id = self.stage.adapter.write(text)
        say(f"customer writes {id}: {text}")
        await self.hear()
        return id

    async def answer(self, id: str, text: str) -> None:
        """An agent answers: rendered, sent, and found again where the outcome is not known."""
        interaction = self.heard.get(id)
        if interaction is None or interaction.reply_target is None:
            raise ValueError(f"nothing with the id {id} was heard of that can be answered")
        draft = Draft(
            reply_id=f"dev-{len(self.known)}",
            text=text,
            account=interaction.account,
            target=interaction.reply_target,
            visibility=interaction.visibility,
            interaction=interaction,
            written_at=self.stage.time.now(),
        )
        rendered = self.stage.plugin.render(draft)
        say(f"agent answers {id}: {rendered.model_dump_json(exclude_defaults=True)}")
        try:
            sent = await self.stage.plugin.send(rendered, draft.reply_id)
            say(f"  out  {sent!r}")
        except Unknown as error:
            say(f"  !    Unknown: {error.reason}; find is asked")
            intent = SendIntent(key=draft.reply_id, rendered=rendered, started_at=self.stage.time.now())
            say(f"  out  {await self.stage.plugin.find(intent)!r}")
        await self.hear()

    async def hear(self, *, poll: bool = True) -> list[Any]:
        """What the plugin tells, kept to be answered."""
        news = await super().hear(poll=poll)
        self.heard |= {item.external_id: item for item in news if isinstance(item, Interaction)}
        return news


class HelpdeskPlayer(Player):
    """The gateway writes a ticket, an agent answers it."""

    def __init__(self, stage: Stage[Any, Any]) -> None:
        super().__init__(stage)
        self.commands = {"ticket TEXT": self.ticket, "comment ID TEXT": self.comment, "agent ID TEXT": self.agent}
        self._keys = 0

    async def begin(self) -> None:
        """A ticket is made, and an agent answers it."""
        await super().begin()
        await self.agent(await self.ticket("My parcel is late"), "We are looking for it.")

    async def ticket(self, text: str) -> Any:
        """A customer's message opens a ticket; its id."""
        return await self._push(None, text)

    async def comment(self, id: str, text: str) -> None:
        """The customer adds to a ticket."""
        await self._push(id, text)

    async def agent(self, id: str, text: str) -> None:
        """An agent answers in the helpdesk."""
        self.stage.adapter.agent_answers(id, text)
        say(f"agent answers on {id}: {text}")
        await self.hear()

    async def _push(self, id: str | None, text: str) -> Any:
        self._keys += 1
        key, now = f"dev-{self._keys}", self.stage.time.now()
        change = TicketChange(
            key=key,
            ticket_key=f"gateway:{key}",
            external_id=id,
            subject="Message by Rita Example" if id is None else None,
            requester=RITA,
            comments=(OutgoingComment(key=f"{key}-c", text=text, author=RITA, at=now),),
        )
        (result,) = await self.stage.plugin.push([change])
        say(f"customer writes: {text}\n  out  {result!r}")
        await self.hear()
        return getattr(result, "external_id", None)


def say(text: str) -> None:
    """Print it at once."""
    print(text, flush=True)


async def _obey(player: Player) -> None:
    """Do what is typed, line by line; without a terminal at the other end, wait."""
    loop = asyncio.get_running_loop()
    lines: asyncio.Queue[str] = asyncio.Queue()

    def read() -> None:
        for line in sys.stdin:
            loop.call_soon_threadsafe(lines.put_nowait, line.strip())

    threading.Thread(target=read, daemon=True).start()
    usage = {name.partition(" ")[0]: (name, command) for name, command in player.commands.items()}
    while True:
        word, _, rest = (await lines.get()).partition(" ")
        if word == "quit":
            raise SystemExit(ENDED)
        if word == "poll":
            await player.attempt(player.hear())
        elif word in usage:
            name, command = usage[word]
            given = rest.split(" ", name.count(" ") - 1)
            if len(given) < name.count(" ") or not all(given):
                say(f"say: {name}")
            else:
                await player.attempt(command(*given))
        elif word:
            say(f"type one of: {', '.join(player.commands)}, poll, quit")


@contextlib.asynccontextmanager
async def _page(twin: Any, port: int) -> AsyncIterator[str]:
    """The twin's page over HTTP, beside the twin that the plugin talks to in this process."""
    server = uvicorn.Server(uvicorn.Config(twin.app, port=port, log_level="critical", lifespan="off"))
    server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign,assignment]
    task = asyncio.create_task(server.serve())
    while not server.started:
        if task.done():
            raise SystemExit(f"cannot listen on port {port}: choose another one with --port")
        await asyncio.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = server.force_exit = True
        await task
