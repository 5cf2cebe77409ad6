"""Checks of what a source tells when people write, edit and delete at its twin."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from gateway_schemas.interaction import Deletion, Interaction, Listing, Wanted, version_order
from gateway_schemas.testing.adapters import NotOffered
from gateway_schemas.testing.failure import found, needs, staged, unless
from gateway_schemas.testing.plugin_contract import PluginContract
from gateway_schemas.testing.source_stage import SourceStage, about, heard, interactions

TEXT = 'Größe "XL" & <b>3 > 2</b> costs 100% more?\nSecond line: naïve 漢字 👩‍👩‍👧'


class HearingChecks(PluginContract):
    """A customer writes; what is told of it."""

    @staged
    async def test_not_noticed(self, stage: SourceStage) -> None:
        """What a customer writes is told, by webhook."""
        needs(stage.capabilities.webhook, "webhook")
        await stage.install()
        id = stage.adapter.write("my parcel is late")
        about(await stage.follow(await stage.webhooks()), id)
        unless(not stage.refused, "genuine_refused", f"the twin's webhook is refused: {stage.refused[:1]}")

    @staged
    async def test_not_noticed_by_poll(self, stage: SourceStage) -> None:
        """What a customer writes is told, by poll alone."""
        needs(stage.capabilities.poll, "poll")
        id = stage.adapter.write("my parcel is late")
        about(await stage.follow(await stage.polled()), id)

    @staged
    async def test_webhook_and_poll_disagree(self, stage: SourceStage) -> None:
        """Both ways lead to the same thing."""
        needs(stage.capabilities.webhook and stage.capabilities.poll, "webhook and poll")
        await stage.install()
        id = stage.adapter.write("my parcel is late")
        by_webhook = about(await stage.follow(await stage.webhooks()), id)
        by_poll = about(await stage.follow(await stage.polled()), id)
        for name in ("revision", "account", "kind", "visibility", "direction", "text", "in_reply_to", "published_at"):
            one, other = getattr(by_webhook, name), getattr(by_poll, name)
            unless(one == other, "webhook_and_poll_disagree", f"{name} is {one!r} by webhook and {other!r} by poll")
        one, other = by_webhook.author.external_id, by_poll.author.external_id
        unless(one == other, "webhook_and_poll_disagree", f"the author is {one!r} by webhook and {other!r} by poll")

    @staged
    async def test_time_wrong(self, stage: SourceStage) -> None:
        """The event's time is the provider's, to the second, wherever and whenever it is read."""
        await stage.install() if stage.capabilities.webhook else None
        written = stage.time.now()
        id = stage.adapter.write("my parcel is late")
        stage.time.pass_by(minutes=90)
        told = about(await stage.learn(), id)
        off = told.published_at - written
        unless(
            abs(off) <= timedelta(seconds=1.5),
            "time_wrong",
            f"written at {written.isoformat()}, told as {told.published_at.isoformat()}",
        )

    @staged
    async def test_text_changed(self, stage: SourceStage) -> None:
        """The text arrives as it was typed."""
        await stage.install() if stage.capabilities.webhook else None
        told = await heard(stage, TEXT)
        wanted, given = " ".join(TEXT.split()), " ".join(told.text.split())
        unless(wanted in given, "text_changed", f"written was\n{TEXT}\nand told is\n{told.text}")
        unless(told.text.count("\n") >= 1, "text_changed", f"the line break is lost: {told.text!r}")
        unless(given.count("Second line") == 1, "text_changed", f"the text is doubled: {told.text!r}")

    @staged
    async def test_wrong_account(self, stage: SourceStage) -> None:
        """What came in is for the connection's account."""
        await stage.install() if stage.capabilities.webhook else None
        told = await heard(stage)
        account = stage.plugin_class.account_of(stage.config)
        if account is not None:
            unless(told.account == account, "wrong_account", f"told for {told.account!r}, the account is {account!r}")

    @staged
    async def test_author_wrong(self, stage: SourceStage) -> None:
        """The customer is the author, and the same one each time; the brand is another."""
        needs(stage.adapter.names_authors, "authors (`names_authors`)")
        await stage.install() if stage.capabilities.webhook else None
        one, other = await heard(stage, "the first"), await heard(stage, "the second")
        ids = {one.author.external_id, other.author.external_id}
        unless(len(ids) == 1, "author_wrong", f"one customer wrote twice and is told as {sorted(ids)}")
        unless(one.direction == "inbound", "author_wrong", "what a customer wrote is told as outbound")
        unless(
            one.author.external_id not in (one.account, one.external_id, one.root),
            "author_wrong",
            f"the author's id is that of the account, the item or the thread: {one.author.external_id}",
        )

    @staged
    async def test_private_read_as_public(self, stage: SourceStage) -> None:
        """Private is private, public is public."""
        await stage.install() if stage.capabilities.webhook else None
        private = await heard(stage, "my order is 4711", private=True)
        unless(private.visibility == "private", "private_read_as_public", "a private message is told as public")

    @staged
    async def test_own_post_taken_for_customers(self, stage: SourceStage) -> None:
        """What the brand posts by itself is outbound."""
        await stage.install() if stage.capabilities.webhook else None
        asked = await heard(stage)
        try:
            id = stage.adapter.brand_writes("We have new opening hours")
        except NotOffered:
            id = stage.adapter.brand_writes("We are sorry", asked.external_id)
        for item in interactions(await stage.learn()).values():
            if item.external_id == id or "opening hours" in item.text or "We are sorry" in item.text:
                unless(
                    item.direction == "outbound",
                    "own_post_taken_for_customers",
                    f"the brand's own {item.kind} {item.external_id} is told as a customer's",
                )

    @staged
    async def test_edit_ignored(self, stage: SourceStage) -> None:
        """An edit is told, with the new text and another revision."""
        before, after = await self._edited(stage)
        unless(after is not None, "edit_ignored", "a customer edited, and nothing is told")
        assert after is not None
        unless("since Monday" in after.text, "edit_ignored", f"the edited text is told as {after.text!r}")
        unless(after.revision != before.revision, "edit_ignored", f"the edit has the same revision {after.revision!r}")

    @staged
    async def test_edit_is_new_thing(self, stage: SourceStage) -> None:
        """An edit keeps the id, the place and the time of the first version."""
        before, after = await self._edited(stage)
        unless(after is not None, "edit_is_new_thing", "after an edit another thing is told than before")
        assert after is not None
        for name in ("published_at", "kind", "visibility", "in_reply_to", "account"):
            one, other = getattr(before, name), getattr(after, name)
            fault = "time_wrong" if name == "published_at" else "edit_is_new_thing"
            if name == "published_at" and stage.adapter.dates == "last":
                unless(one < other, fault, f"the edit of {one} later is dated {other}")
                continue
            unless(one == other, fault, f"the edit changed {name} from {one!r} to {other!r}")

    @staged
    async def test_edit_looks_older(self, stage: SourceStage) -> None:
        """The edited version is the newer one."""
        before, after = await self._edited(stage)
        if after is not None:
            one, other = version_order(before), version_order(after)
            unless(other > one, "edit_looks_older", f"the first version is of {one}, the edited one of {other}")

    @staged
    async def test_deletion_ignored(self, stage: SourceStage) -> None:
        """What a customer took down is told as gone, or found gone."""
        await stage.install() if stage.capabilities.webhook else None
        told = await heard(stage)
        stage.time.pass_by(hours=30)
        stage.adapter.delete(told.external_id)
        news = await stage.learn()
        gone = [item for item in news if isinstance(item, Deletion)]
        if any(item.external_id == told.external_id for item in gone):
            return
        unless(
            stage.adapter.deletions == "asked",
            "deletion_ignored",
            f"{told.external_id} was deleted; told is {[type(item).__name__ for item in news] or 'nothing'}",
        )
        for item in news:
            if isinstance(item, Listing):
                unless(told.external_id not in item.present, "deletion_ignored", "a listing has what was deleted")
        unless(await _is_gone(stage, told.external_id), "deletion_ignored", "fetch does not find it gone")

    @staged
    async def test_thread_lost(self, stage: SourceStage) -> None:
        """A message below another one names it."""
        await stage.install() if stage.capabilities.webhook else None
        first = await heard(stage)
        stage.time.pass_by(minutes=3)
        id = stage.adapter.reply(first.external_id, "still nothing")
        below = about(await stage.learn(), id)
        names = {below.in_reply_to, below.root}
        unless(
            first.external_id in names or (first.root is not None and first.root == below.root),
            "thread_lost",
            f"a message below {first.external_id} has in_reply_to={below.in_reply_to!r} and root={below.root!r}",
        )
        unless(below.in_reply_to != below.external_id, "thread_lost", "a message answers itself")

    @staged
    async def test_no_way_to_answer(self, stage: SourceStage) -> None:
        """Whatever can be answered says how."""
        needs(stage.capabilities.reply, "reply")
        await stage.install() if stage.capabilities.webhook else None
        for private in (False, True):
            try:
                told = await heard(stage, private=private)
            except NotOffered:
                continue
            target = told.reply_target
            unless(target is not None, "no_way_to_answer", f"a {told.visibility} {told.kind} has no reply_target")
            assert target is not None
            unless(
                target.ref or target.recipient, "no_way_to_answer", f"the reply_target of a {told.kind} names nothing"
            )
            limits = stage.capabilities.text
            unless(
                not limits or target.kind in limits,
                "no_way_to_answer",
                f"the capabilities name no text limit for an answer of the kind {target.kind}",
            )

    @staged
    async def test_fetch_gives_nothing(self, stage: SourceStage) -> None:
        """Each wish is settled, many at once."""
        await stage.install() if stage.capabilities.webhook else None
        for number in range(3):
            stage.adapter.write(f"parcel {number}")
        news = await stage.webhooks() + (await stage.polled() if stage.capabilities.poll else [])
        wanted = list({item.ref: item for item in news if isinstance(item, Wanted)}.values())
        needs(wanted, "deliveries that only name things")
        pages = await stage.plugin.fetch(wanted)
        settled = {ref for page in pages for ref in (*page.answers, *page.gone)}
        missing = {item.ref for item in wanted} - settled
        unless(not missing, "fetch_gives_nothing", f"these wishes are not settled: {sorted(missing)[:5]}")

    @staged
    async def test_shared_delivery_unreadable(self, stage: SourceStage) -> None:
        """A shared callback is read with the App's configuration alone, for each account that it is for."""
        needs(stage.capabilities.webhook and stage.capabilities.shared_webhook, "shared_webhook")
        await stage.install()
        id = stage.adapter.write("my parcel is late")
        try:
            news = await stage.webhooks()
        except RuntimeError as error:
            found("shared_delivery_unreadable", str(error))
        account = stage.plugin_class.account_of(stage.config)
        for item in interactions(news).values():
            unless(item.account == account, "wrong_account", f"{id} is told for {item.account!r}, not {account!r}")

    async def _edited(self, stage: SourceStage) -> tuple[Interaction, Interaction | None]:
        await stage.install() if stage.capabilities.webhook else None
        before = await heard(stage, "my parcel is late")
        stage.time.pass_by(minutes=10)
        stage.adapter.edit(before.external_id, "my parcel is late since Monday")
        return before, interactions(await stage.learn()).get(before.external_id)


async def _is_gone(stage: SourceStage, id: str) -> bool:
    wanted = Wanted(ref=id, reason="refresh", at=stage.time.now(), account=stage.plugin_class.account_of(stage.config))
    pages = await stage.plugin.fetch([wanted])
    news: list[Any] = stage.read(pages, "fetch")
    return any(id in page.gone for page in pages) or any(
        isinstance(item, Deletion) and item.external_id == id for item in news
    )
