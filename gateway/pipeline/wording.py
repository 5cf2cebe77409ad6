"""How interactions read at the helpdesk: subjects, comments and notes, in the agent's view."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from gateway.health.standing import Symptom
from gateway_schemas.interaction import Interaction

SUBJECT = 90
KINDS = {"post": "post", "comment": "comment", "review": "review", "direct_message": "direct message"}


def who(author: Mapping[str, Any]) -> str:
    """The handle with its at-sign, else the name, else the id."""
    if author.get("handle"):
        return f"@{author['handle']}"
    return str(author.get("name") or author.get("external_id") or "somebody")


def subject(item: Interaction, provider: str) -> str:
    """One line that tells tickets apart in a list."""
    text = " ".join((item.title or item.text).split())
    if item.rating is not None:
        text = f"{item.rating.value:g}/{item.rating.best:g} {text}".strip()
    head = f"{who(item.author.model_dump())} on {provider}"
    line = f"{head}: {text}" if text else f"{head}: {KINDS[item.kind]} without text"
    return line if len(line) <= SUBJECT else line[: SUBJECT - 1].rstrip() + "…"


def comment(item: Interaction, *, edited: bool = False) -> str:
    """The customer's words, with what the words alone do not show."""
    lines = []
    if edited:
        lines.append("[edited]")
    if item.visibility == "private":
        lines.append("[direct message]" if item.kind == "direct_message" else "[private]")
    if item.rating is not None:
        lines.append(f"[{item.rating.value:g} of {item.rating.best:g} stars]")
    if item.recommendation is not None:
        lines.append(f"[recommendation: {item.recommendation}]")
    if item.title:
        lines.append(item.title)
    if item.text:
        lines.append(item.text)
    for file in item.attachments:
        label = ": ".join(part for part in (file.media_type or "attachment", file.alt_text) if part)
        lines.append(f"[{label}] {file.url or ''}".rstrip())
    return "\n".join(lines) or f"[{KINDS[item.kind]} without text]"


def channel_unwell(name: str, symptom: Symptom) -> str:
    """The note that says why news of a channel does not reach us, and what mends it."""
    lines = [f"News from {name} does not reach us as it should ({symptom.code}).", symptom.message]
    return "\n".join([*lines, f"What to do: {symptom.mend}", "What was missed is made up for by polling."])


def channel_recovered(name: str, since: datetime, now: datetime) -> str:
    """The note that says that it does again."""
    lasted = f"from {since:%Y-%m-%d %H:%M} to {now:%Y-%m-%d %H:%M} UTC"
    return f"News from {name} reaches us again; it did not {lasted}. What came meanwhile has been polled."


def late_file(url: str | None) -> str:
    """The note that brings a file whose message could not wait for it."""
    return "A file of the message above, which came later." + _link(url)


def deleted(item: Interaction, by: str, at: datetime) -> str:
    """The note that something is gone at its source."""
    actor = {"author": "The customer", "brand": "Your team", "provider": "The provider"}.get(by, "Somebody")
    return (
        f"{actor} deleted this {KINDS[item.kind]} of {_at(item.published_at)} at the source on {_at(at)}:\n{item.text}"
    )


def context(item: Interaction) -> str:
    """A line of context by somebody whose matter this is not."""
    return f"Context: {who(item.author.model_dump())} wrote on {_at(item.published_at)}:\n{item.text}" + _link(item.url)


def joined(item: Interaction) -> str:
    """The note on the ticket of somebody who joined another customer's conversation, which has a ticket of its own."""
    return f"Joined the conversation of {who(item.author.model_dump())}, which has a ticket of its own." + _link(
        item.url
    )


def native_answer(item: Interaction, provider: str) -> str:
    """The note that the brand answered at the source itself, outside the helpdesk."""
    return (
        f"{who(item.author.model_dump())} answered directly on {provider} on {_at(item.published_at)}:\n{item.text}"
        + _link(item.url)
    )


def digest(comments: Sequence[Mapping[str, Any]]) -> str:
    """Many waiting messages as one comment, each with its author, time and permalink."""
    parts = [f"{len(comments)} messages, oldest first:"]
    for one in comments:
        name = who(one["author"]) if one.get("author") else "gateway"
        parts.append(f"— {name}, {one['at']}{' ' + one['url'] if one.get('url') else ''}\n{one['text']}")
    return "\n\n".join(parts)


def incident(title: str, messages: int, newest: Sequence[Mapping[str, Any]], *, first: bool, grouping: bool) -> str:
    """The note on an incident's ticket: what is going on, for how many messages it stands, and the newest of them."""
    parts = []
    if first:
        parts.append(f"Incident: {title}.")
        if grouping:
            parts.append("What says nearly the same is counted on this ticket and opens none of its own.")
    if messages > 1:
        parts.append(f"This ticket stands for {messages} messages now.")
    for one in newest:
        link = f" {one['url']}" if one.get("url") else ""
        parts.append(f"— {one['author']}, {_at(one['at'])}{link}\n{one['text']}")
    return "\n\n".join(parts)


def invitation(address: str, code: str, carries_code: bool, until: datetime) -> str:
    """The note with what an agent gives to a customer who is to go on by mail."""
    way = address if carries_code else f"{address} with the code {code} in the subject"
    lines = [f"An invitation to go on with this matter by mail, until {_at(until)}:", way, ""]
    if carries_code:
        lines += [f"Or, written to the mailbox's usual address, with this code in the subject: {code}", ""]
    lines += [
        f"Words to use: Please write to us at {way}, so that we can look into it in private.",
        "",
        "The first address that uses it joins this ticket, and no other. Give it in a private message where you can: "
        "what stands in public anybody may use, so ask for proof before you say what only the customer may know.",
    ]
    return "\n".join(lines)


def claimed(item: Interaction, ticket_id: object, invitation_id: object) -> str:
    """The note that a message joined the ticket by its invitation."""
    return (
        f"{item.author.handle or item.author.external_id} used the invitation of this matter first, and now counts as "
        "the same customer. If the invitation stood in public, it may be somebody else: ask before you say what only "
        f"the customer may know. To part them, DELETE /v1/tickets/{ticket_id}/invitations/{invitation_id}, then split "
        "the conversation off."
    )


def not_claimed(item: Interaction, claimed_by: str | None) -> str:
    """The note that a message named the ticket's invitation and did not join."""
    why = f"which {claimed_by} had used before" if claimed_by else "which had expired by then"
    return (
        f"{item.author.handle or item.author.external_id} wrote with the invitation of this matter, {why}. "
        "The message was not joined to this ticket; it belongs to a matter of its own."
    )


def carried(head: str, entries: Sequence[Mapping[str, Any]]) -> str:
    """What was said in a matter so far, for the ticket that goes on with it."""
    parts = [head]
    for one in entries:
        private = " (private)" if one["visibility"] == "private" else ""
        link = f" {one['url']}" if one.get("url") else ""
        parts.append(f"— {one['author']}{private}, {_at(one['at'])}{link}\n{one['text']}")
    return "\n\n".join(parts)


STATES = {
    "held": "was held and has NOT been published",
    "blocked": "was blocked and has NOT been published",
    "failed": "could not be published",
    "unknown": "may or may not have been published; please look at the channel before answering again",
}


def mark(
    state: str,
    *,
    text: str,
    reason: str,
    findings: Sequence[Mapping[str, Any]] = (),
    length: int | None = None,
    limit: int | None = None,
    approve: str | None = None,
    second_person: bool = False,
    visibility: str | None = None,
) -> str:
    """The one private note that gives an agent the reason why an answer did not go out, and what would help.

    `approve` begins the digest of a held answer that a person may let go, which makes it `visibility`; `second_person`:
    not its author.
    """
    lines = [f"This answer {STATES[state]}.", f"Reason: {reason}"]
    if length is not None and limit is not None and length > limit:
        lines.append(f"Length: {length} of at most {limit}.")
    for finding in findings:
        lines.append(f"• {finding['message']}")
        for evidence in finding.get("evidence", ()):
            lines.append(f"  “{evidence['text']}”")
        if finding.get("suggestion"):
            lines.append(f"  Instead: {finding['suggestion']}")
    if approve is not None:
        who = "somebody other than its author adds" if second_person else "add"
        where = f" in {visibility}" if visibility is not None else ""
        lines.append(f"To publish it{where} as it is, {who} the private note: /approve {approve}")
    lines += ["", "The answer as it would have gone out:", text]
    return "\n".join(lines)


def _at(at: datetime) -> str:
    return at.strftime("%Y-%m-%d %H:%M UTC")


def _link(url: str | None) -> str:
    return f"\n{url}" if url else ""


def own_post(
    item: Interaction, provider: str, findings: Sequence[Mapping[str, Any]], id: object, *, quote: bool, ticket: bool
) -> str:
    """What policies found in a post of the brand's that did not come through the gateway, and what can be done.

    With `quote` its text as well, where it does not stand beside this. What belongs to a `ticket` can be corrected.
    """
    lines = [f"Your {KINDS[item.kind]} on {provider} of {_at(item.published_at)} did not pass the policies:"]
    if quote:
        lines.append(item.text)
    for one in findings:
        if one["mode"] == "shadow" or one["severity"] == "allow" or "waived" in one:
            continue
        lines.append(f"- {one['message']}")
        if one.get("suggestion"):
            lines.append(f"  {one['suggestion']}")
    if item.url:
        lines.append(item.url)
    ways = [f"take it back with POST /v1/interactions/{id}/retract"]
    if ticket:
        ways.append(f"publish a correction under it with POST /v1/interactions/{id}/correct")
    lines.append(f"What can be done: {', '.join(ways)}, or change it at the source.")
    return "\n".join(lines)
