"""What happens to an answer, and around it, while it is on its way or already out."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from gateway.connections import Endpoint
from gateway.pipeline import reply as answers
from gateway.pipeline.normalise import Read
from gateway.pipeline.succession import follow_merge
from gateway_inbound.twin import InboundTwin, Manners
from gateway_schemas.testing.twin import Fault
from gateway_schemas.ticket import Agent, AgentReply, TicketChanged
from gateway_zendesk.twin import ZendeskTwin

LineLike = Any
SECRET = "whsec_" + "A" * 43 + "="


async def complaint(line: LineLike, text: str = "@AcmeSupport my parcel is stuck", by: str = "rita") -> str:
    post: str = line.x.post(by, text)
    await line.settle()
    return post


async def rewrite(line: LineLike, comment: int | str, text: str, *, revision: str, **changes: Any) -> None:
    """A helpdesk that lets agents change their comments tells of a newer one."""
    endpoint = (await line.gateway.runtime.connections.load([line.helpdesk]))[line.helpdesk]
    row = (
        await line.gateway.rows(
            "SELECT t.external_id, r.author_id, r.written_at FROM reply r "
            "JOIN ticket t ON t.id = r.ticket_id WHERE r.comment_id = :id",
            id=str(comment),
        )
    )[0]
    news = AgentReply(
        ticket=row["external_id"],
        external_id=str(comment),
        revision=revision,
        author=Agent(external_id=row["author_id"], name="Ann"),
        text=text,
        origin="composer",
        at=row["written_at"],
    )
    await told(line, endpoint, news.model_copy(update=changes))


async def told(line: LineLike, endpoint: Endpoint, news: AgentReply | TicketChanged) -> None:
    """What a helpdesk brings, as it comes out of its plugin."""
    now = line.gateway.runtime.now()
    read = Read(1, now, "helpdesk", "fetch", endpoint, {}, [(endpoint, news)])
    async with line.gateway.runtime.database.write() as connection:
        wakes = await answers.take(connection, [read], now, timedelta(hours=24), 0.0, line.gateway.runtime.calendars)
    await line.gateway.runtime.wake(wakes)


async def test_a_message_edited_before_the_helpdesk_had_it_is_told_once_as_it_reads_now(line: LineLike) -> None:
    await line.pause_helpdesk()
    post = line.x.post("rita", "@AcmeSupport my parcel is stukc")
    await line.x.settle()

    async def threaded() -> bool:
        return bool(await line.gateway.value("SELECT count(*) FROM push WHERE kind = 'comment'"))

    await line.gateway.until(threaded, "it is threaded")
    line.x.edit(post, "@AcmeSupport my parcel is stuck")
    await line.x.settle()

    async def rewritten() -> bool:
        return "stuck" in str(await line.gateway.value("SELECT payload ->> 'text' FROM push WHERE kind = 'comment'"))

    await line.gateway.until(rewritten, "the edit is known")
    await line.resume_helpdesk()
    await line.settle()
    assert line.comments(1) == ["@AcmeSupport my parcel is stuck"]


async def test_an_edit_is_told_by_itself_when_the_message_goes_out_while_it_is_threaded(line: LineLike) -> None:
    await line.pause_helpdesk()
    post = line.x.post("rita", "@AcmeSupport my parcel is stukc")
    await line.x.settle()

    async def threaded() -> bool:
        return bool(await line.gateway.value("SELECT count(*) FROM push WHERE kind = 'comment'"))

    async def waits() -> bool:
        return bool(await line.gateway.value("SELECT count(*) FROM pg_locks WHERE NOT granted"))

    await line.gateway.until(threaded, "it is threaded")
    async with line.gateway.runtime.database.engine.connect() as claim:
        # as a push claims it, between the look for what an edit rewrites and the rewriting
        claimed = "UPDATE push SET tries = 1 WHERE kind = 'comment'"
        await claim.exec_driver_sql(claimed)
        line.x.edit(post, "@AcmeSupport my parcel is stuck")
        await line.x.settle()
        await line.gateway.until(waits, "the edit is about to be written")
        await claim.commit()
    await line.resume_helpdesk()
    await line.settle()
    assert line.comments(1) == ["@AcmeSupport my parcel is stukc", "[edited]\n@AcmeSupport my parcel is stuck"]


async def test_an_answer_on_a_ticket_that_is_deleted_does_not_go_out(line: LineLike) -> None:
    await complaint(line)
    await line.gateway.pause()
    await line.queue(1, "We found it!")
    line.desk.delete(1, "Ann")
    endpoint = (await line.gateway.runtime.connections.load([line.helpdesk]))[line.helpdesk]
    await told(line, endpoint, TicketChanged(ticket="1", deleted=True))
    await line.until("cancelled")
    await line.gateway.lift()
    await line.settle()
    assert line.published() == []
    assert (await line.reply())["code"] == "ticket_deleted"


async def test_an_answer_on_a_ticket_that_is_reassigned_or_closed_goes_out(line: LineLike) -> None:
    post = await complaint(line)
    await line.gateway.pause()
    await line.queue(1, "We found it!")
    line.desk.change(1, {"assignee_id": line.desk.agent("Bea")}, "Bea")
    line.desk.set_status(1, "solved", "Bea")
    line.desk.close(1)
    await line.desk.settle()
    await line.gateway.lift()
    await line.settle()
    assert line.published() == [("We found it!", post)]


async def test_an_answer_on_a_ticket_that_is_merged_sees_what_comes_in_at_its_new_place(line: LineLike) -> None:
    first = await complaint(line)
    await complaint(line, "@AcmeSupport where is bob's?", "bob")
    await line.gateway.pause()
    await line.queue(1, "We found it, Rita!")
    line.desk.merge(1, 2, "Ann")
    await line.desk.settle()
    line.x.direct_message("rita", "AcmeSupport", "please not in public")
    await line.x.settle()

    async def heard() -> bool:
        return await line.gateway.value("SELECT count(*) FROM push WHERE kind = 'comment' AND state = 'done'") == 3

    await line.gateway.until(heard, "the message is told")
    await line.gateway.lift()
    await line.settle()
    reply = await line.reply()
    assert (reply["state"], reply["code"]) == ("held", "newer_message"), first
    assert line.published() == []


@pytest.mark.parametrize("known", [True, False], ids=["the merge is known", "both are news"])
async def test_an_answer_that_is_read_after_its_ticket_was_merged_goes_to_whom_it_was_written(
    line: LineLike, known: bool
) -> None:
    first = await complaint(line)
    await complaint(line, "@AcmeSupport where is bob's?", "bob")
    await asyncio.sleep(1.1)  # helpdesks tell time in whole seconds
    line.desk.agent_comment(1, "Ann", "We found it, Rita!")
    line.desk.merge(1, 2, "Ann")
    if known:  # as a push to the ticket that was merged finds out, before the answer is read
        [one, two] = await line.gateway.rows("SELECT id FROM ticket ORDER BY external_id")
        async with line.gateway.runtime.database.write() as connection:
            await follow_merge(connection, one["id"], "2", line.gateway.runtime.now())
        assert await line.gateway.value("SELECT merged_into FROM ticket WHERE external_id = '1'") == two["id"]
    await line.desk.settle()
    await line.settle()
    assert line.published() == [("We found it, Rita!", first)]


async def test_an_answer_that_is_read_with_a_merge_into_its_ticket_does_not_go_to_the_other_customer_unasked(
    line: LineLike,
) -> None:
    """Whether it was written before or after cannot be told, so a person says whom it answers."""
    await complaint(line)
    await complaint(line, "@AcmeSupport where is bob's?", "bob")
    await asyncio.sleep(1.1)  # helpdesks tell time in whole seconds
    line.desk.agent_comment(1, "Ann", "We found it, Rita!")
    line.desk.merge(2, 1, "Ann")
    await line.desk.settle()
    await line.settle()
    reply = await line.reply()
    assert (reply["state"], reply["code"]) == ("held", "newer_message")
    assert line.published() == []
    assert any("To publish it in public as it is" in text for text in line.comments(1))


async def test_after_a_merge_the_last_one_seen_is_answered(line: LineLike) -> None:
    await complaint(line)
    second = await complaint(line, "@AcmeSupport where is bob's?", "bob")
    line.desk.merge(1, 2, "Ann")
    await line.settle()
    await asyncio.sleep(1.1)  # helpdesks tell time in whole seconds
    await line.answer(2, "It is here, Bob!")
    assert line.published() == [("It is here, Bob!", second)]


@pytest.mark.parametrize("kind", ["timeout_after", "drop_after"], ids=["answered late", "asked after"])
async def test_a_merge_into_a_ticket_of_ours_whose_number_is_not_known_yet_is_one_of_ours(
    line: LineLike, kind: Any
) -> None:
    """The one that was merged goes by that number until the other is known by it; then it is in the other."""
    first = await complaint(line)
    line.desk.faults.append(Fault(kind, path="/api/v2/tickets(.json)?$", method="POST", status=502, seconds=1))
    line.x.post("bob", "@AcmeSupport where is bob's?")

    async def there() -> bool:
        return len(line.desk.tickets) == 2

    await line.gateway.until(there, "the second ticket is at the helpdesk")
    line.desk.merge(1, 2, "Ann")
    [one] = await line.gateway.rows("SELECT id FROM ticket WHERE external_id = '1'")
    async with line.gateway.runtime.database.write() as connection:
        await follow_merge(connection, one["id"], "2", line.gateway.runtime.now())
    assert await line.gateway.value("SELECT count(*) FROM ticket WHERE external_id IS NULL") == 1
    await line.settle()
    [two] = await line.gateway.rows("SELECT id, external_id, merged_into FROM ticket WHERE id <> :one", one=one["id"])
    assert (two["external_id"], two["merged_into"]) == ("2", None)
    assert await line.gateway.value("SELECT merged_into FROM ticket WHERE id = :one", one=one["id"]) == two["id"]
    assert len(line.desk.tickets) == 2
    assert any("where is bob's?" in text for text in line.comments(2))
    line.x.post("rita", "@AcmeSupport it is still not here", in_reply_to=first)
    await line.settle()
    assert any("it is still not here" in text for text in line.comments(2)), "rita's matter goes on in the other ticket"


@pytest.fixture
async def forum(line: LineLike) -> AsyncIterator[InboundTwin]:
    """A forum beside X, whose answers can be changed and deleted, and which keeps one answer to each item."""
    twin = InboundTwin(signing_secret=SECRET, reply_secret=SECRET, manners=Manners(one_slot=True))
    async with twin.serve():
        source = await line.gateway.add_connection(
            "source",
            "inbound",
            {
                "signing_secrets": [SECRET],
                "reply_url": twin.reply_url,
                "reply_secret": SECRET,
                "one_slot": True,
            },
            helpdesk=line.helpdesk,
        )
        twin.door = f"{line.gateway.url}/hooks/{source}"
        twin.push(
            {
                "external_id": "review-1",
                "kind": "review",
                "author": {"external_id": "user-1", "name": "Uma"},
                "text": "Never again",
                "published_at": "2026-01-01T00:00:00Z",
            }
        )
        await twin.settle()
        await line.settle()
        yield twin


async def test_a_changed_answer_is_changed_at_the_source_and_a_deleted_one_deleted(
    line: LineLike, forum: InboundTwin
) -> None:
    comment = await line.answer(1, "We are sory")
    await rewrite(line, comment, "We are sorry", revision="2")
    await line.settle()
    assert [one["text"] for one in forum.replies.values()] == ["We are sorry"]
    rows = await line.gateway.rows("SELECT text, state, amends FROM reply ORDER BY created_at")
    assert [(one["text"], one["state"], one["amends"] is None) for one in rows] == [
        ("We are sorry", "sent", True),
        ("We are sorry", "sent", False),
    ]
    await rewrite(line, comment, "We are sorry", revision="3", public=False)
    await line.settle()
    assert forum.replies == {}
    assert await line.gateway.value("SELECT state FROM reply WHERE amends IS NULL") == "retracted"


async def test_where_the_source_cannot_change_what_is_published_the_agent_reads_so(line: LineLike) -> None:
    post = await complaint(line)
    comment = await line.answer(1, "We are sory")
    await rewrite(line, comment, "We are sorry", revision="2")
    await line.settle()
    assert line.published() == [("We are sory", post)]
    assert any("the published one is unchanged" in one.body for one in line.ticket(1).comments if not one.public)
    # making it private takes it back, for X can delete
    await rewrite(line, comment, "We are sorry", revision="3", public=False)
    await line.settle()
    assert line.published() == []
    assert await line.gateway.value("SELECT state FROM reply WHERE amends IS NULL") == "retracted"


async def test_a_second_answer_to_the_one_slot_is_held_with_both_texts(line: LineLike, forum: InboundTwin) -> None:
    await line.answer(1, "We are sorry")
    await line.answer(1, "We are very sorry")
    reply = await line.reply()
    assert (reply["state"], reply["code"]) == ("held", "one_slot")
    note = [one.body for one in line.ticket(1).comments if not one.public][-1]
    assert "“We are sorry”" in note
    assert "We are very sorry" in note
    await line.answer(1, "/approve", public=False)
    assert [one["text"] for one in forum.replies.values()] == ["We are very sorry"]
    states = await line.gateway.rows("SELECT state, code FROM reply ORDER BY created_at")
    assert [(one["state"], one["code"]) for one in states] == [("retracted", "replaced"), ("sent", None)]


async def test_a_deletion_on_a_closed_ticket_opens_no_other_and_the_next_message_does(
    line: LineLike, forum: InboundTwin
) -> None:
    line.desk.close(1)
    await line.desk.settle()
    forum.delete("review-1")
    await forum.settle()
    await line.settle()
    assert list(line.desk.tickets) == [1]
    dropped = await line.gateway.rows("SELECT state, reason FROM push WHERE kind = 'note'")
    assert [(one["state"], one["reason"][:21]) for one in dropped] == [("dropped", "the ticket was closed")]
    item = {"external_id": "post-2", "kind": "comment", "root": "review-1", "in_reply_to": "review-1"}
    author = {"external_id": "user-1", "name": "Uma"}
    forum.push({**item, "author": author, "text": "Still never", "published_at": "2026-01-02T00:00:00Z"})
    await forum.settle()
    await line.settle()
    assert line.comments(2) == ["Still never"]
    assert line.ticket(1).followup_ids == [2]


async def test_a_matter_goes_on_at_another_helpdesk(line: LineLike) -> None:
    other = ZendeskTwin()
    other.limits.off()
    async with other.serve(), line.rest() as http:
        there = await line.gateway.add_connection(
            "helpdesk",
            "zendesk",
            {"base_url": other.url, "email": other.email, "api_token": other.token, "share": 1.0},
            name="The other desk",
        )
        await line.gateway.install(there)
        post = await complaint(line)
        await line.answer(1, "We are looking, Rita")
        await line.answer(1, "the depot says it is lost", public=False)
        ticket = str(await line.gateway.value("SELECT id FROM ticket"))
        moved = await http.post(f"/v1/tickets/{ticket}/move", json={"helpdesk": "The other desk", "reason": "VIP"})
        assert moved.status_code == 201, moved.text
        again = await http.post(f"/v1/tickets/{ticket}/move", json={"helpdesk": "The other desk"})
        assert again.status_code == 409
        await line.settle()
        closing = line.ticket(1).comments[-1]
        assert "moved this matter to The other desk: VIP" in closing.body
        assert not closing.public
        assert "gw_moved" in line.ticket(1).tags
        [fresh] = other.tickets.values()
        told = "\n".join(one.body for one in fresh.comments)
        assert all(words in told for words in ("my parcel is stuck", "We are looking, Rita", "the depot says"))
        assert not any(one.public and "the depot says" in one.body for one in fresh.comments)
        # what comes in now goes there, and answers there go out
        line.x.post("rita", "@AcmeSupport and?", in_reply_to=post)
        await line.settle()
        assert any("@AcmeSupport and?" in one.body for one in fresh.comments)
        other.agent_comment(fresh.id, "Otto", "It is on its way, Rita")
        await other.settle()
        await line.settle()
        assert [text for text, _ in line.published()] == ["We are looking, Rita", "It is on its way, Rita"]
        # a late answer at the old place is refused, and says where to answer
        late = await line.answer(1, "Any news?")
        assert len(line.published()) == 2
        note = [one.body for one in line.ticket(1).comments if not one.public][-1]
        assert f"has moved to The other desk {other.url}" in note
        assert next(one for one in line.ticket(1).comments if one.id == late).public is False
        assert (await http.post(f"/v1/tickets/{ticket}/replies", json={"text": "x"})).status_code == 409


async def test_a_conversation_is_split_off(line: LineLike) -> None:
    await complaint(line)
    line.x.direct_message("rita", "AcmeSupport", "another thing: my invoice")
    await line.settle()
    async with line.rest() as http:
        ticket = str(await line.gateway.value("SELECT id FROM ticket"))
        legs = (await http.get(f"/v1/tickets/{ticket}")).json()["legs"]
        private = next(one["thread"] for one in legs if one["visibility"] == "private")
        every = {"threads": [one["thread"] for one in legs]}
        assert (await http.post(f"/v1/tickets/{ticket}/split", json=every)).status_code == 409
        assert (await http.post(f"/v1/tickets/{ticket}/split", json={"threads": ["?"]})).status_code == 422
        answer = await http.post(f"/v1/tickets/{ticket}/split", json={"threads": [private]})
        assert (answer.status_code, answer.json()["linked_to"]) == (201, ticket)
    await line.settle()
    assert "my invoice" in line.ticket(2).comments[0].body
    line.x.direct_message("rita", "AcmeSupport", "hello?")
    await line.settle()
    assert any("hello?" in one.body for one in line.ticket(2).comments)
    await asyncio.sleep(1.1)
    await line.answer(2, "Here is your invoice")
    assert [one.text for one in line.x.messages_from("AcmeSupport")] == ["Here is your invoice"]


@pytest.mark.parametrize("every", [3, pytest.param(1, marks=pytest.mark.torture)])
async def test_approve_reject_edit_and_send_in_every_order_send_nothing_undecided_and_nothing_twice(
    line: LineLike, every: int
) -> None:
    """Each of many held answers meets the four in another order, all at once, with the sender running."""
    orders = list(itertools.permutations(("approve", "reject", "edit", "leg")))[::every]
    for number in range(len(orders)):
        line.x.add_user(f"user{number}")
        line.x.post(f"user{number}", f"@AcmeSupport parcel of {number} is stuck")
    await line.settle(120)
    written = line.desk.time.now() - timedelta(seconds=2)
    for number in range(len(orders)):
        line.x.direct_message(f"user{number}", "AcmeSupport", "are you there?")
    await line.settle(120)
    tickets = {one.comments[0].body.split()[3]: one.id for one in line.desk.tickets.values()}
    for number in range(len(orders)):
        line.desk.agent_comment(tickets[str(number)], "Ann", f"Number {number} is on its way.", at=written)
    await line.desk.settle()
    held = await line.until("held", len(orders))

    async def act(http: Any, what: str, one: Any) -> None:
        if what == "approve":
            await http.post(f"/v1/replies/{one['id']}/approve", json={"digest": one["digest"]})
        elif what == "reject":
            await http.post(f"/v1/replies/{one['id']}/reject")
        elif what == "edit":
            await rewrite(line, one["comment_id"], one["text"] + " Really.", revision="9")
        else:
            number = next(n for n, ticket in tickets.items() if f"Number {n} " in one["text"] and ticket)
            line.desk.change(tickets[number], {"additional_tags": ["reply:private"]}, "Ann")

    async with line.rest() as http:

        async def all_of(one: Any, order: tuple[str, ...]) -> None:
            for what in order[:2]:
                await act(http, what, one)
            await asyncio.gather(*(act(http, what, one) for what in order[2:]))

        await asyncio.gather(*(all_of(one, order) for one, order in zip(held, orders, strict=True)))
    await line.settle(120)
    out = [text for text, _ in line.published()] + [one.text for one in line.x.messages_from("AcmeSupport")]
    assert max(Counter(text.removesuffix(" Really.") for text in out).values(), default=0) <= 1
    rows = await line.gateway.rows("SELECT id, state, text, digest, rendered, code FROM reply WHERE amends IS NULL")
    decided = {
        (row["thing_id"], row["revision"])
        for row in await line.gateway.rows("SELECT thing_id, revision FROM decision WHERE point = 'review_reply'")
    }
    for row in rows:
        assert row["state"] in ("sent", "cancelled", "held"), row
        if row["state"] == "sent":
            assert (row["id"], row["digest"]) in decided
            assert row["rendered"]["text"] in out
    assert sum(row["state"] == "sent" for row in rows) == len(out)


@pytest.mark.parametrize("effect", ["drop_after", "status_before"])
async def test_a_message_that_may_have_reached_a_ticket_that_is_then_deleted_goes_on_with_the_matter(
    line: LineLike, effect: str
) -> None:
    """Whether it had come cannot be asked of a ticket that is gone: asked for ever, it held back all that followed."""
    post = await complaint(line)
    line.desk.faults.append(Fault(effect, method="PUT", path=r"/tickets/1(\.json)?$", status=500))
    line.x.post("rita", "@AcmeSupport still stuck", in_reply_to=post)

    async def interrupted() -> bool:
        return bool(
            await line.gateway.value("SELECT count(*) FROM push WHERE state = 'in_flight' AND code IS NOT NULL")
        )

    await line.gateway.until(interrupted, "nobody knows what came of the call")
    line.desk.delete(1, "Ann")
    line.x.post("rita", "@AcmeSupport hello?", in_reply_to=post)
    await line.settle()
    assert line.comments(2) == ["@AcmeSupport still stuck", "@AcmeSupport hello?"]
    assert await line.gateway.value("SELECT ended FROM ticket WHERE external_id = '1'") == "deleted"
