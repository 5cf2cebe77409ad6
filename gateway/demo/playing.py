"""How each message of a recording is played: customers on the network, agents in the helpdesk where they can."""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from gateway.demo.conductor import Step
from gateway.demo.recordings import Message, Recording
from gateway.demo.rest import Rest
from gateway.demo.twins import HelpdeskTwin, SocialTwin
from gateway.demo.witness import Witness, words

if TYPE_CHECKING:
    from gateway_schemas.testing.twin import Effect

PERMALINK = re.compile(r"https://x\.com/(?:i/web|\w+)/status/(\d+)")
AGENTS = ("Ann", "Bo", "Chidi")
"""The people who answer for each company."""
BEFORE = timedelta(days=1)
"""The connections are made this long before the first post."""


def named_at_helpdesk(effect: Effect) -> Iterator[Hashable]:
    """What the gateway writes goes by the posts whose links it carries: customers' words, and notes about others'."""
    if effect.kind == "comment_created" and effect.data["gateway_key"] is not None:
        kind = "told" if effect.data["role"] == "end-user" else "noted"
        for id in dict.fromkeys(PERMALINK.findall(effect.data["text"])):
            yield kind, id


def named_on_network(effect: Effect) -> Iterator[Hashable]:
    """A post by the gateway goes by what it answers and says."""
    if effect.kind == "post" and effect.data["by"] == "api":
        yield "sent", effect.data["in_reply_to"], words(effect.data["text"])


@dataclass
class Playing:
    """One run of a recording, with what it met on its way."""

    recording: Recording
    network: SocialTwin
    helpdesk: HelpdeskTwin
    witness: Witness
    users: dict[str, str] = field(default_factory=dict)
    """Ids of the network's users, by handle."""
    published: dict[str, str] = field(default_factory=dict)
    """What an answer is called on the network, by its id in the recording."""

    async def set_up(self, rest: Rest) -> None:
        """Make the helpdesk's and each company's connection, as an admin would."""
        config = {"base_url": self.helpdesk.url, "email": self.helpdesk.email, "api_token": self.helpdesk.token}
        desk = await rest.connection("zendesk", "helpdesk", config)
        await rest.install(desk)
        app = await rest.app("x", "network", self.network.app_config())
        for company in self.recording.companies:
            self.users[company] = self.network.add_brand(company, premium=True).id
            brand = await rest.brand(company)
            config = self.network.connection_config(company)
            source = await rest.connection("x", company, config, app=app, brand=brand, helpdesk=desk["id"])
            await rest.install(source)

    def steps(self) -> Iterator[Step]:
        """Each message of each tree, after the one before it there."""
        how = {"customer": self._post, "helpdesk": self._answer, "native": self._answer_natively}
        for tree in self.recording.trees:
            steps = [Step(message.at, functools.partial(how[message.way], message)) for message in tree.messages]
            for step, following in itertools.pairwise(steps):
                step.before, following.after = following.at, (step,)
            yield from steps

    def name_of(self, message: Message | None) -> str | None:
        """The id of a message on the network."""
        return None if message is None else self.published.get(message.id, message.id)

    async def _post(self, message: Message) -> None:
        handle = message.tree.handle(message.author)
        if handle not in self.users:
            self.users[handle] = self.network.add_user(handle).id
        self._publish(handle, message)
        await self._wait_for(message)

    async def _answer(self, message: Message) -> None:
        assert message.parent is not None
        ticket = self.witness.seen["told", message.parent.id][-1].data["ticket"]
        agent = f"{AGENTS[int(message.id) % len(AGENTS)]} at {message.company}"
        self.helpdesk.agent_comment(ticket, agent, message.text)
        name = ("sent", self.name_of(message.parent), words(message.text))
        sent = await self.witness.until(name, f"the answer {message.id} under {self.name_of(message.parent)}")
        self.published[message.id] = sent.id

    async def _answer_natively(self, message: Message) -> None:
        self._publish(message.company, message)
        await self._wait_for(message)
        await self.witness.until(("noted", message.id), f"the note of the answer {message.id} on the network")

    def _publish(self, handle: str, message: Message) -> None:
        self.network.post(self.users[handle], message.text, self.name_of(message.parent), at=message.at, id=message.id)

    async def _wait_for(self, message: Message) -> None:
        for one in message.brings:
            await self.witness.until(("told", one.id), f"the comment with {one.id}, which {message.id} brings")
