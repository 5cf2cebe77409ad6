"""What agents see on the ticket: fields, tags, status and notes, each as the helpdesk itself shows them."""

from __future__ import annotations

from typing import Any


def field(line: Any, name: str, number: int = 1) -> Any:
    """A custom field's value at the helpdesk, by its title."""
    ids = [id for id, one in line.desk.desk.fields.items() if one.get("title") == name or one.get("key") == name]
    assert ids, (name, line.desk.desk.fields)
    return line.ticket(number).custom_fields.get(ids[0])


async def test_each_mark_is_true_at_the_helpdesk(make_line: Any) -> None:
    async with make_line() as line:
        await line.gateway.change_config(line.helpdesk, create_fields=True)
        await line.gateway.install(line.helpdesk)
        line.x.post("rita", "@AcmeSupport my parcel is stuck")
        await line.settle()
        comment = await line.answer(1, "word " * 80, status="solved")
        ticket = line.ticket(1)
        assert (ticket.status, field(line, "gw_state")) == ("open", "blocked")
        assert "gw_blocked" in ticket.tags
        assert next(one for one in ticket.comments if one.id == comment).public is False
        notes = [one for one in ticket.comments if "NOT been published" in one.body]
        assert [one.public for one in notes] == [False]
        # a better one goes out: the state is corrected, the link is there, and no note is written
        before = len(ticket.comments)
        await line.answer(1, "We found it!")
        await line.gateway.execute("UPDATE push SET due_at = now() WHERE state = 'pending'")
        await line.gateway.runtime.wake([f"push:{line.helpdesk}"])
        await line.settle()
        assert field(line, "gw_state") == "published"
        assert line.published()[0][0] == "We found it!"
        sent = (await line.gateway.rows("SELECT url FROM reply WHERE state = 'sent'"))[0]
        assert field(line, "gw_last_url") == sent["url"] != None  # noqa: E711
        assert len(ticket.comments) == before + 1
        assert "gw_blocked" not in ticket.tags
