"""Many changes at once: background jobs, what they refuse, and what becomes of each item."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from gateway_schemas.errors import Retry
from gateway_schemas.ticket import Done, Failed, Pending
from gateway_zendesk.twin_limits import Limit


async def test_creates_and_updates_become_two_jobs(desk: Any) -> None:
    first, second = await desk.created("a"), await desk.created("b")
    creates = [desk.change(f"n{number}") for number in range(3)]
    updates = [desk.change(f"u{ticket}", external_id=str(ticket), subject=None) for ticket in (first, second)]
    mixed = [creates[0], updates[0], creates[1], updates[1], creates[2]]
    results = await desk.push(*mixed)
    assert [one.key for one in results] == [one.key for one in mixed]
    assert all(isinstance(one, Done) for one in results)
    assert [job.type for job in desk.twin.jobs.all.values()] == ["Bulk Create Ticket", "Bulk Update Ticket"]
    for asked, done in zip(mixed, results, strict=True):
        ticket = desk.twin.tickets[int(done.external_id)]
        assert any(audit.custom == {"gateway_key": f"{asked.key}-c"} for audit in ticket.audits)


async def test_the_host_is_told_to_wait(desk: Any) -> None:
    desk.twin.jobs.hold()
    plugin = desk.plugin
    results = await plugin.push([desk.change("a"), desk.change("b")])
    assert all(isinstance(one, Pending) for one in results)
    again = await desk.plugin.resume(results)
    assert [one.job for one in again] == [one.job for one in results]
    desk.twin.jobs.release()
    await desk.twin.settle()
    assert all(isinstance(one, Done) for one in await desk.plugin.resume(results))


async def test_a_hundred_customers_in_a_crisis(desk: Any) -> None:
    """Users that exist are looked up together; a hundred tickets cost a handful of requests."""
    people = [desk.customer(f"c{number}") for number in range(100)]
    for person in people:
        desk.twin.desk.people.add(person.name, "end-user", external_id=person.external_id)
    changes = [
        desk.change(f"k{number}", [desk.comment(f"k{number}-c", author=person)], requester=person)
        for number, person in enumerate(people)
    ]
    results = await desk.push(*changes)
    assert {type(one) for one in results} == {Done}
    assert len(desk.twin.tickets) == 100
    assert len(desk.twin.requests) <= 6
    assert desk.plugin.capabilities.bulk == 100


async def test_new_customers_come_as_fast_as_zendesk_takes_them(desk: Any) -> None:
    """One a second, a few in each push, the rest with the next: and no push lasts long."""
    desk.twin.limits.limits.update({"account": Limit(400), "users-create": Limit(1, 1)})
    people = [desk.customer(f"c{number}") for number in range(12)]
    changes = [desk.change(one.name, [desk.comment(author=one)], requester=one) for one in people]
    left, pushes, began = changes, 0, desk.time.now()
    while left:
        results = await desk.push(*left)
        waiting = [one for one in results if isinstance(one, Failed)]
        assert {(one.error, one.code) for one in waiting} <= {("retry", "users_pending")}
        left = [change for change, one in zip(left, results, strict=True) if isinstance(one, Failed)]
        desk.time.pass_by(seconds=2)
        pushes += 1
    assert len(desk.twin.tickets) == 12
    assert pushes == 3
    assert desk.time.now() - began < timedelta(seconds=20)


async def test_new_customers_come_together_where_that_is_enabled(desk: Any) -> None:
    desk.twin.bulk_users = True
    desk.twin.limits.limits.update({"account": Limit(400), "users-create": Limit(1, 1)})
    people = [desk.customer(f"c{number}") for number in range(100)]
    changes = [desk.change(one.name, [desk.comment(author=one)], requester=one) for one in people]
    plugin = desk.plugin
    desk.twin.jobs.hold()
    for _ in range(2):
        results = await plugin.push(changes)
        assert {one.code for one in results} == {"users_pending"}
    desk.twin.jobs.release()
    await desk.twin.settle()
    results = await plugin.push(changes)
    assert {type(one) for one in results} == {Pending}
    await desk.twin.settle()
    assert len(desk.twin.tickets) == 100
    assert [job.type for job in desk.twin.jobs.all.values()] == ["Bulk Create or Update User", "Bulk Create Ticket"]
    assert desk.requests("POST", "create_or_update") == [("POST", "/api/v2/users/create_or_update_many", 200)]


async def test_a_user_that_the_job_refused_is_made_alone(desk: Any) -> None:
    desk.twin.bulk_users = True
    desk.twin.jobs.fail = {3: ("RecordInvalid", "Name: is not nice")}
    people = [desk.customer(f"c{number}") for number in range(10)]
    changes = [desk.change(one.name, [desk.comment(author=one)], requester=one) for one in people]
    plugin = desk.plugin
    await plugin.push(changes)
    await desk.twin.settle()
    assert {type(one) for one in await plugin.push(changes)} == {Pending}
    assert len(desk.requests("POST", "create_or_update")) == 2


async def test_an_account_without_the_bulk_call_is_asked_once(desk: Any) -> None:
    plugin = desk.plugin
    for batch in "ab":
        people = [desk.customer(f"{batch}{number}") for number in range(10)]
        changes = [desk.change(one.name, [desk.comment(author=one)], requester=one) for one in people]
        assert {type(one) for one in await plugin.push(changes)} == {Pending}
    assert len(desk.requests("POST", "create_or_update_many")) == 1


async def test_single_calls_in_a_batch_are_portioned(desk: Any) -> None:
    """A push may not outlast the host's patience: what needs calls of its own comes in portions."""
    tickets = [await desk.created(f"k{number}") for number in range(25)]
    written = [desk.twin.agent_comment(one, "Ada", "Oops") for one in tickets]
    changes = [
        desk.change(f"u{one}", external_id=str(one), subject=None, make_private=(str(comment),))
        for one, comment in zip(tickets, written, strict=True)
    ]
    results = await desk.push(*changes)
    assert [type(one) for one in results] == [Done] * 20 + [Failed] * 5
    assert {one.code for one in results[20:]} == {"portioned"}
    assert {type(one) for one in await desk.push(*changes[20:])} == {Done}


async def test_mending_the_tags_of_a_large_job_comes_in_portions(desk: Any) -> None:
    desk.twin.tag_words_everywhere = False
    tickets = [await desk.created(f"k{number}", add_tags=("old",)) for number in range(25)]
    changes = [
        desk.change(f"u{one}", external_id=str(one), subject=None, add_tags=("new",), remove_tags=("old",))
        for one in tickets
    ]
    plugin = desk.plugin
    results = list(await plugin.push(changes))
    await desk.twin.settle()
    rounds = 0
    while any(isinstance(one, Pending) for one in results):
        again = {one.key: one for one in await plugin.resume([one for one in results if isinstance(one, Pending)])}
        results = [again.get(one.key, one) for one in results]
        rounds += 1
    assert {type(one) for one in results} == {Done}
    assert rounds == 3
    assert {tuple(desk.twin.tickets[one].tags) for one in tickets} == {("gateway", "new")}


async def test_one_bad_item_fails_alone(desk: Any) -> None:
    """A completed job may hold failed items: closed, deleted, merged and refused ones each by their own name."""
    fine, closed, deleted, source, target = [await desk.created(name) for name in "abcde"]
    desk.twin.close(closed)
    desk.twin.delete(deleted)
    desk.twin.merge(source, target)
    changes = [desk.change(f"u{one}", external_id=str(one), subject=None) for one in (fine, closed, deleted, source)]
    done, *rest = await desk.push(*changes)
    assert isinstance(done, Done)
    assert [one.error for one in rest] == ["closed", "gone", "moved"]
    assert rest[2].moved_to == str(target)


async def test_refused_and_passing_faults_are_told_apart_by_code(desk: Any) -> None:
    desk.twin.jobs.fail = {0: ("RecordInvalid", "Subject: is too long"), 1: ("DatabaseConflict", "Database collision")}
    refused, again, done = await desk.push(*(desk.change(key) for key in "abc"))
    assert (refused.error, refused.code) == ("rejected", "RecordInvalid")
    assert (again.error, again.code) == ("retry", "DatabaseConflict")
    assert isinstance(done, Done)


async def test_results_without_success_words(desk: Any) -> None:
    desk.twin.jobs.terse = True
    assert {type(one) for one in await desk.push(desk.change("a"), desk.change("b"))} == {Done}


async def test_a_job_that_breaks_half_way_is_unknown(desk: Any) -> None:
    """Half of it was done: only a look-up tells which half, and then nothing is written twice."""
    desk.twin.jobs.crash_next = True
    changes = [desk.change(key) for key in "abcd"]
    results = await desk.push(*changes)
    assert [one.error for one in results] == ["unknown"] * 4
    found = [await desk.find(one) for one in changes]
    assert [one.external_id is not None for one in found] == [True, True, False, False]
    assert all(one.comments for one in found[:2])


async def test_a_job_that_is_forgotten_is_unknown(desk: Any) -> None:
    plugin = desk.plugin
    results = await plugin.push([desk.change("a"), desk.change("b")])
    await desk.twin.settle()
    desk.twin.jobs.all.clear()
    assert [one.error for one in await plugin.resume(results)] == ["unknown"] * 2


async def test_notes_of_another_version_are_unknown(desk: Any) -> None:
    for job in ("", "{}", "[]", '{"job": 1}', "null", '{"job": "x", "index": "y"}'):
        (result,) = await desk.plugin.resume([Pending(key="k", job=job)])
        assert (result.error, result.code) == ("unknown", "bad_note")


async def test_too_many_jobs_waits(desk: Any) -> None:
    desk.twin.jobs.ceiling = 0
    results = await desk.push(desk.change("a"), desk.change("b"))
    assert [(one.error, one.code) for one in results] == [("retry", "too_many_jobs")] * 2
    assert not desk.twin.tickets


async def test_a_refused_batch_is_split_to_single_items(desk: Any) -> None:
    desk.twin.faults.append(
        desk.fault("status_before", path="create_many", status=422, body=b'{"error":"RecordInvalid"}')
    )
    results = await desk.push(desk.change("a"), desk.change("b"))
    assert {type(one) for one in results} == {Done}
    assert len(desk.twin.tickets) == 2


@pytest.mark.parametrize("kind", ["status_after", "drop_after", "timeout_after"])
async def test_a_job_without_an_answer_is_not_repeated(desk: Any, kind: str) -> None:
    """The job may still be queued: until it has run, a look-up that finds nothing proves nothing."""
    desk.twin.jobs.hold()
    desk.twin.faults.append(desk.fault(kind, path="create_many", status=502, seconds=1.2))
    changes = [desk.change("a"), desk.change("b")]
    results = await desk.push(*changes)
    assert [one.error for one in results] == ["unknown"] * 2
    with pytest.raises(Retry):
        await desk.find(changes[0])
    desk.twin.jobs.release()
    await desk.twin.settle()
    assert [bool((await desk.find(one)).comments) for one in changes] == [True, True]


async def test_private_before_the_rest(desk: Any) -> None:
    first, second = await desk.created("a"), await desk.created("b")
    written = desk.twin.agent_comment(first, "Ada", "Oops")
    note = desk.comment("n", "Held", author=None, public=False)
    results = await desk.push(
        desk.change("u1", [note], external_id=str(first), subject=None, make_private=(str(written),)),
        desk.change("u2", (), external_id=str(second), subject=None),
    )
    assert {type(one) for one in results} == {Done}
    comments = desk.twin.tickets[first].comments
    assert [(one.id == written, one.public) for one in comments[-2:]] == [(True, False), (False, False)]


async def test_tags_of_a_job_are_mended(desk: Any) -> None:
    desk.twin.tag_words_everywhere = False
    tickets = [await desk.created(key, add_tags=("old",)) for key in "ab"]
    results = await desk.push(
        *(
            desk.change(f"u{one}", external_id=str(one), subject=None, add_tags=("gw_held",), remove_tags=("old",))
            for one in tickets
        )
    )
    assert {type(one) for one in results} == {Done}
    assert [desk.twin.tickets[one].tags for one in tickets] == [["gateway", "gw_held"]] * 2


async def test_credentials_refused_for_all(desk: Any) -> None:
    desk.twin.expired = True
    results = await desk.push(desk.change("a"), desk.change("b"))
    assert [one.error for one in results] == ["reauthorise"] * 2


async def test_neither_half_of_a_safe_update_is_sent(desk: Any) -> None:
    """Bulk updates take `safe_update` and `updated_stamp` both or neither; a coalesced push has no stamp."""
    tickets = [await desk.created(key) for key in "ab"]
    for ticket in tickets:
        desk.twin.set_status(ticket, "pending")
    await desk.push(*(desk.change(f"u{one}", external_id=str(one), subject=None) for one in tickets))
    items = next(job.items for job in desk.twin.jobs.all.values() if job.type == "Bulk Update Ticket")
    assert not {"safe_update", "updated_stamp"} & set(json.loads(json.dumps(items[0])))


async def test_thousands_of_tickets(desk: Any) -> None:
    """Ten thousand at the twin: each is created and found. Were that to take square time, it would not end in time."""
    twin = desk.twin
    for number in range(10_000):
        ticket = {"comment": {"body": "x"}, "external_id": f"e{number}", "tags": ["gateway"]}
        twin.desk.create(ticket, twin.api_user)
    assert len(twin.tickets_by_external_id("e9999")) == 1
