"""Files in both directions: as a form to Freshdesk, and what agents attach or paste."""

from __future__ import annotations

from typing import Any

import pytest

from gateway_freshdesk.api import form_of
from gateway_schemas.errors import Unknown
from gateway_schemas.interaction import Attachment
from gateway_schemas.markup import as_text
from gateway_schemas.ticket import AgentReply


def kept(desk: Any, body: bytes, name: str | None = "box.jpg", **more: Any) -> Attachment:
    sha256 = desk.files.keep(body)
    values = {"url": f"https://cdn.example/{sha256[:6]}", "media_type": "image/jpeg", "name": name, "sha256": sha256}
    return Attachment(**{**values, **more})


def contents(desk: Any, holder: Any) -> list[tuple[str, bytes, str]]:
    found = []
    for file in holder.attachments:
        body, media_type = desk.twin.desk.contents[file["attachment_url"].rsplit("/", 1)[-1]]
        found.append((file["name"], body, media_type))
    return found


async def test_a_customers_files_hang_on_the_ticket_and_on_their_notes(desk: Any) -> None:
    """A form makes the same ticket as JSON does: numbers, tags and custom fields included."""
    field = desk.twin.add_field("Gateway key")["name"]
    desk.settings = {"fields": {"ticket_key": field}, "group_id": 7}
    pictures = (kept(desk, b"one"), kept(desk, b"two", None, media_type="image/png"))
    plain = await desk.created("a", priority="high", add_tags=("x",))
    ticket = await desk.created(
        "b", comments=[desk.comment("b-c", attachments=pictures)], priority="high", add_tags=("x",)
    )
    first, second = desk.twin.tickets[plain], desk.twin.tickets[ticket]
    for name in ("status", "priority", "source", "tags", "group_id", "requester_id", "subject"):
        assert getattr(first, name) == getattr(second, name)
    assert second.custom_fields == {field: "gateway:b"}
    assert as_text(second.description) == "The train is late\n\n[gw:b-c]"
    assert contents(desk, second) == [
        ("box.jpg", b"one", "image/jpeg"),
        (f"{pictures[1].sha256[:12]}.png", b"two", "image/png"),
    ]
    await desk.told(ticket, "k2", "ünïcode & <b>", attachments=pictures[:1])
    (note,) = second.conversations
    assert contents(desk, note) == [("box.jpg", b"one", "image/jpeg")]
    assert (note.private, note.incoming, note.user_id) == (False, True, second.requester_id)
    assert as_text(note.body) == "ünïcode & <b>\n\n[gw:k2-c]"


async def test_what_does_not_fit_or_is_not_kept_is_named(desk: Any) -> None:
    """Twenty megabytes together; nothing is dropped without a word, and nothing fails for it."""
    big, small = kept(desk, b"x" * 15_000_000, "big.mov"), kept(desk, b"y" * 6_000_000, "more.mov", url=None)
    gone = Attachment(name="old.png", url="https://cdn.example/old.png", sha256="0" * 64)
    said = Attachment(name="seen.png", url="https://cdn.example/seen.png")
    text = "See https://cdn.example/seen.png"
    ticket = await desk.created(comments=[desk.comment(text=text, attachments=(big, small, gone, said))])
    stored = desk.twin.tickets[ticket]
    assert [one["name"] for one in stored.attachments] == ["big.mov"]
    assert as_text(stored.description) == (
        f"{text}\n\nmore.mov: too large for Freshdesk, or not kept any more\nold.png: https://cdn.example/old.png\n\n[gw:c1]"
    )


@pytest.mark.parametrize("kind", ["status_after", "drop_after"])
async def test_a_form_whose_answer_is_lost_is_found(desk: Any, kind: str) -> None:
    ticket = await desk.created()
    asked = desk.change("k2", [desk.comment("k2-c", attachments=(kept(desk, b"one"),))], external_id=str(ticket))
    desk.fault(kind, method="POST", path="/notes$", status=500)
    with pytest.raises(Unknown):
        await desk.push(asked)
    assert set((await desk.find(asked)).comments) == {"k2-c"}


async def test_files_go_along_when_the_author_is_refused(desk: Any) -> None:
    ticket = await desk.created()
    desk.twin.desk.contact_notes = False
    await desk.told(ticket, "k2", attachments=(kept(desk, b"one"),))
    (note,) = desk.twin.tickets[ticket].conversations
    assert contents(desk, note) == [("box.jpg", b"one", "image/jpeg")]
    assert len(desk.twin.desk.contents) == 1


async def test_what_agents_attach_and_paste_can_be_fetched(desk: Any) -> None:
    ticket = await desk.created()
    pasted = desk.twin.desk.keep_file("pasted.png", b"pixels", "image/png")["attachment_url"]
    markup = f'<div>Look:</div><img src="{pasted}" alt="the shop"><img src="data:image/png;base64,AA==">'
    desk.twin.agent_note(ticket, "Ada", "", markup=markup, files=[("a.pdf", b"%PDF", "application/pdf")])
    (reply,) = [one for one in await desk.read(ticket) if isinstance(one, AgentReply)]
    assert [(one.name, one.size) for one in reply.attachments] == [("a.pdf", 4), ("the shop", None)]
    plugin = desk.plugin
    got = [await plugin.download(one) for one in reply.attachments]
    assert [(one.body, one.media_type) for one in got] == [(b"%PDF", "application/pdf"), (b"pixels", "image/png")]
    assert plugin.media_hosts_of(desk.config())[0] == desk.twin.url


def test_forms() -> None:
    body = {"a": 1, "b": True, "c": "x", "tags": ["t", "u"], "custom_fields": {"cf_a": 2.5, "cf_b": None}}
    assert form_of(body) == {
        "a": ["1"],
        "b": ["true"],
        "c": ["x"],
        "tags[]": ["t", "u"],
        "custom_fields[cf_a]": ["2.5"],
    }
