"""The brand's own posts made elsewhere: taken back at the source and corrected under them, over REST."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

from gateway_schemas.testing.twin_faults import Fault
from support.plugins import MODULE
from support.policies import put

LineLike = Any
RUDE = {"severity": "block", "code": "rude", "message": "That is rude."}


@pytest.fixture
async def line(make_line: Any) -> AsyncIterator[LineLike]:
    """A line on which a rude word is found in whatever the brand says."""
    async with make_line(plugin_modules=(MODULE,)) as made:
        lines = [{"point": point, "if_text": "idiot", "say": RUDE} for point in ("on_own_post", "review_reply")]
        await put(made.gateway.runtime, "scripted", {"lines": lines})
        yield made


async def slip(line: LineLike, *, under: bool = True) -> Any:
    """The brand posts something rude in X's own app, under a customer's post or on its own; its row."""
    opener = line.x.post("rita", "@AcmeSupport my parcel is stuck") if under else None
    await line.settle()
    line.x.post("AcmeSupport", "Read the terms, idiot", in_reply_to=opener)
    await line.settle()
    [row] = await line.gateway.rows("SELECT * FROM interaction WHERE direction = 'outbound'")
    return row


async def act(line: LineLike, id: object, what: str, **body: Any) -> httpx2.Response:
    """One action on an interaction, over REST."""
    async with line.rest() as http:
        answer: httpx2.Response = await http.post(f"/v1/interactions/{id}/{what}", json=body or None)
        return answer


@pytest.mark.parametrize("under", [True, False])
async def test_an_own_post_is_taken_back_at_the_source(line: LineLike, under: bool) -> None:
    own = await slip(line, under=under)
    [alarm] = await line.gateway.rows("SELECT message, acknowledged_at FROM alarm WHERE code = 'rude'")
    assert f"POST /v1/interactions/{own['id']}/retract" in alarm["message"]
    assert (f"POST /v1/interactions/{own['id']}/correct" in alarm["message"]) is under
    assert alarm["acknowledged_at"] is None
    if not under:
        refused = await act(line, own["id"], "correct", text="Sorry")
        assert refused.status_code == 409
        assert f"POST /v1/interactions/{own['id']}/retract" in refused.json()["detail"]
    answer = await act(line, own["id"], "retract")
    assert answer.status_code == 200, answer.text
    assert answer.json()["deleted_at"] is not None
    assert line.published() == []
    await line.settle()  # X tells of the deletion as well
    attempts = await line.gateway.rows("SELECT kind, outcome FROM attempt WHERE thing_id = :id", id=str(own["id"]))
    assert [(one["kind"], one["outcome"]) for one in attempts] == [("retract", "ok")]
    tomb = await line.gateway.rows("SELECT external_id, deleted_by FROM tombstone")
    assert [(one["external_id"], one["deleted_by"]) for one in tomb] == [(own["external_id"], "brand")]
    changes = "SELECT count(*) FROM revision WHERE interaction_id = :id AND change = 'deleted'"
    assert await line.gateway.value(changes, id=own["id"]) == 1
    assert await line.gateway.value("SELECT acknowledged_by FROM alarm WHERE code = 'rude'") == "first key"
    if under:
        notes = [one.body for one in line.ticket(1).comments if "Your team deleted" in one.body]
        assert len(notes) == 1
    again = await act(line, own["id"], "retract")
    assert (again.status_code, "gone from the source" in again.text) == (409, True)


async def test_a_source_that_is_away_leaves_everything_as_it_is(line: LineLike) -> None:
    own = await slip(line)
    line.x.faults.append(Fault("status_before", path="/2/tweets/", method="DELETE", times=1, status=503))
    answer = await act(line, own["id"], "retract")
    assert answer.status_code == 503, answer.text
    assert await line.gateway.value("SELECT deleted_at FROM interaction WHERE id = :id", id=own["id"]) is None
    assert await line.gateway.value("SELECT acknowledged_at FROM alarm WHERE code = 'rude'") is None
    attempts = await line.gateway.rows("SELECT outcome FROM attempt WHERE thing_id = :id", id=str(own["id"]))
    assert [one["outcome"] for one in attempts] == ["retry"]
    # somebody was faster: as good as taken back
    line.x.faults.append(Fault("status_before", path="/2/tweets/", method="DELETE", times=1, status=404))
    assert (await act(line, own["id"], "retract")).status_code == 200
    assert await line.gateway.value("SELECT deleted_by FROM interaction WHERE id = :id", id=own["id"]) == "brand"


async def test_only_own_posts_made_elsewhere_are_taken_back_or_corrected_here(line: LineLike) -> None:
    line.x.post("rita", "@AcmeSupport my parcel is stuck")
    await line.settle()
    await line.answer(1, "It is on its way")
    rows = await line.gateway.rows("SELECT id, direction, reply_id FROM interaction")
    theirs = next(one for one in rows if one["direction"] == "inbound")
    ours = next(one for one in rows if one["direction"] == "outbound")
    for what, body in (("retract", {}), ("correct", {"text": "Sorry"})):
        answer = await act(line, theirs["id"], what, **body)
        assert (answer.status_code, "somebody else" in answer.text) == (409, True)
        answer = await act(line, ours["id"], what, **body)
        assert (answer.status_code, f"/v1/replies/{ours['reply_id']}/retract" in answer.text) == (409, True)
        assert (await act(line, "00000000-0000-7000-8000-000000000000", what, **body)).status_code == 404
    async with line.rest() as http:
        made = await http.post("/v1/keys", json={"name": "reader", "scopes": ["read"]})
        headers = {"Authorization": f"Bearer {made.json()['key']}"}
        for what in ("retract", "correct"):
            refused = await http.post(f"/v1/interactions/{ours['id']}/{what}", json={"text": "Sorry"}, headers=headers)
            assert (refused.status_code, refused.json()["missing"]) == (403, ["replies"])
    assert [text for text, _ in line.published()] == ["It is on its way"]


async def test_a_correction_is_decided_on_and_published_under_the_own_post(line: LineLike) -> None:
    own = await slip(line)
    answer = await act(line, own["id"], "correct", text="We are sorry for our tone. Your parcel is on its way.")
    assert answer.status_code == 202, answer.text
    await line.settle()
    reply = await line.reply()
    assert (str(reply["id"]), reply["state"], reply["origin"]) == (answer.json()["id"], "sent", "rest")
    assert reply["ticket_id"] == own["ticket_id"]
    assert line.published()[-1] == ("We are sorry for our tone. Your parcel is on its way.", own["external_id"])
    assert any("corrects a post of yours over the API" in one.body for one in line.ticket(1).comments)
    [seen] = await line.gateway.rows("SELECT reply_id FROM interaction WHERE in_reply_to = :id", id=own["external_id"])
    assert seen["reply_id"] == reply["id"], "its echo is known as ours, and is not judged as made elsewhere"
    assert await line.gateway.value("SELECT count(*) FROM decision WHERE point = 'on_own_post'") == 1
    # and what the policies would not let out as an answer does not go out as a correction
    await act(line, own["id"], "correct", text="You are an idiot still")
    await line.settle()
    reply = await line.reply()
    assert (reply["state"], reply["code"]) == ("blocked", "rude")
    assert len(line.published()) == 2
