"""A twin in this process, plugins of its accounts, and a door that verifies what the twin tells."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

import httpx2
import pytest

from gateway_meta.config import MetaApp, MetaConfig
from gateway_meta.plugin import MetaSource
from gateway_meta.twin import MetaTwin
from gateway_schemas.errors import Unverified
from gateway_schemas.files import MemoryFiles
from gateway_schemas.interaction import Interaction, Normalised, Wanted
from gateway_schemas.plugin import MemoryState, Setup
from gateway_schemas.reply import Draft, Rendered
from gateway_schemas.testing.clock import StillTime
from gateway_schemas.testing.in_process import DOOR_URL, DoorTransport, in_process
from gateway_schemas.testing.twin import WebhookBuilder
from gateway_schemas.webhook import Origin, RawDelivery, RawPage, WebhookRequest, WebhookResponse


class Ground:
    """What a test plays on: Acme has a Page, an Instagram account linked to it, and one with Instagram Login."""

    def __init__(self, twin: MetaTwin, time: StillTime, http: httpx2.AsyncClient) -> None:
        self.twin, self.time, self.http = twin, time, http
        self.state = MemoryState()
        self.files = MemoryFiles()
        self.carried: list[WebhookBuilder] = []
        self.deliveries: list[RawDelivery] = []

    def plugin(self, who: str = "acme", *, app: dict[str, Any] | None = None, **config: Any) -> MetaSource:
        """A new instance of an account's plugin, as after a restart."""
        values = MetaConfig(**self.twin.connection_config(who, **config))
        return MetaSource(
            Setup(
                time=self.time,
                connection_id="c1",
                account=values.account_id,
                config=values,
                app=MetaApp(**self.twin.app_config(**(app or {}))),
                http=self.http,
                media=self.http,
                files=self.files,
                state=self.state,
                door=DOOR_URL,
            )
        )

    @property
    def reader(self) -> MetaSource:
        """The App's instance, which has no account."""
        return MetaSource(Setup(time=self.time, app=MetaApp(**self.twin.app_config())))

    async def door(self, request: WebhookRequest) -> WebhookResponse | int:
        """The gateway's door."""
        try:
            answer = self.reader.verify(request)
        except Unverified:
            return 401
        if answer is None:
            self.deliveries.append(
                RawDelivery("d", "webhook", request.body, request.received_at, headers=request.headers)
            )
        return answer if answer is not None else 200

    async def install(self, *who: str) -> None:
        """Register the door and subscribe accounts."""
        for one in who or ("acme",):
            await self.plugin(one).install(dry_run=False)

    async def told(self) -> list[Normalised]:
        """What webhooks have told since the last time."""
        builders, self.carried[:] = list(self.carried), []
        for build in builders:
            url, headers, body = build()
            await self.twin.client.post(url, headers=headers, content=body)
        deliveries, self.deliveries[:] = list(self.deliveries), []
        return [item for delivery in deliveries for item in self.reader.normalise(delivery)]

    def read(self, pages: Sequence[RawPage], origin: Origin = "poll") -> list[Normalised]:
        """What pages say."""
        deliveries = [
            RawDelivery("p", origin, page.body, self.time.now(), stream=page.stream, note=page.note)
            for page in pages
            if page.body
        ]
        return [item for delivery in deliveries for item in self.reader.normalise(delivery)]

    async def drain(
        self, plugin: MetaSource, stream: str, cursor: dict[str, Any] | None = None
    ) -> tuple[list[Normalised], dict[str, Any]]:
        """Poll until there is no more."""
        news: list[Normalised] = []
        while True:
            page = await plugin.poll(stream, cursor)
            news += self.read(page.pages)
            cursor = page.cursor
            if not page.more:
                return news, cursor

    async def fetched(self, plugin: MetaSource, news: Sequence[Normalised]) -> list[Normalised]:
        """What is fetched because of the news."""
        return self.read(await plugin.fetch([item for item in news if isinstance(item, Wanted)]), "fetch")

    def render(self, plugin: MetaSource, item: Interaction, text: str, **changes: Any) -> Rendered:
        """An agent's answer on the leg that the item came on."""
        assert item.reply_target is not None
        draft = Draft(
            reply_id="r1",
            text=text,
            account=item.account,
            target=item.reply_target,
            visibility=item.visibility,
            interaction=item,
            written_at=self.time.now(),
        )
        return plugin.render(draft.model_copy(update=changes))

    def private(self, plugin: MetaSource, item: Interaction, text: str) -> Rendered:
        """An agent's answer in private to what was said in public, as the gateway drafts it."""
        assert item.reply_target is not None
        target = item.reply_target.model_copy(
            update={"kind": "direct_message", "ref": None, "recipient": item.author.external_id, "extra": {}}
        )
        return self.render(plugin, item, text, target=target, visibility="private")


@pytest.fixture
async def ground() -> AsyncIterator[Ground]:
    """The twin with its accounts."""
    time = StillTime()
    twin = MetaTwin(time=time)
    twin.add_page("acme", id="100200300", name="Acme")
    twin.add_instagram("acme.gram", id="17841400000000001", name="Acme", page="acme")
    twin.add_instagram("acme.login", id="17841400000000002", name="Acme")
    twin.add_user("jo", id="7700110022", name="Jo Sample")
    twin.add_user("kim", id="7700110044", name="Kim")
    async with in_process(twin) as http:
        ground = Ground(twin, time, http)
        twin.carrier = ground.carried.append
        async with httpx2.AsyncClient(transport=DoorTransport(ground.door, time)) as client:
            twin._client = client
            yield ground
            twin._client = None


def only(items: Sequence[Normalised]) -> Interaction:
    """The one interaction among them."""
    (found,) = [item for item in items if isinstance(item, Interaction)]
    return found


@pytest.fixture
def one() -> Any:
    """Picks the one interaction among news."""
    return only
