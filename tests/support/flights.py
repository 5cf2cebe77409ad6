"""A small world of one ticket with both legs, in which agents, customers and senders act in any order.

Everything that decides is the product's own and pure; around it stands what the database does: rows that change under
conditions. The world knows the truth that the product can only infer (what an agent had really seen, what really went
out), and checks each answer that leaves against it.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from gateway.pipeline.checks import audience, sides
from gateway.pipeline.leaks import Leak, private_only
from gateway.pipeline.leaving import Leave, may_leave
from gateway.pipeline.targets import Target, choose_target
from gateway.pipeline.verdicts import leaking, rule, waivers_for
from gateway_schemas.interaction import ReplyTarget
from gateway_schemas.reply import Rendered

START = datetime(2026, 3, 12, 10, 0, tzinfo=UTC)
TTL = timedelta(minutes=5)
SECRETS = ("4711", "rita@example.com")
MOST = 4
"""Messages and answers of one evening: few enough that most of them come to an end."""
CHANGEABLE = ("received", "queued", "held")


def whole(at: datetime) -> datetime:
    """As helpdesks tell time."""
    return at.replace(microsecond=0)


@dataclass
class Sight:
    """What a drain read before it decides; the world goes on meanwhile."""

    reply: dict[str, Any]
    heard: list[dict[str, Any]]
    basis: str
    policy_set: str
    said: list[dict[str, Any]]


@dataclass
class World:
    """One ticket. Each method is one thing that somebody does."""

    random: random.Random
    choose: Callable[..., Target] = choose_target
    leave: Callable[..., Leave] = may_leave
    leaks: Callable[..., list[Leak]] = private_only
    """What of the product is played with: the world must see when one of these is broken."""
    now: datetime = START
    messages: list[dict[str, Any]] = field(default_factory=list)
    replies: list[dict[str, Any]] = field(default_factory=list)
    sights: list[tuple[int, Sight]] = field(default_factory=list)
    flights: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    posts: list[tuple[int, str, str]] = field(default_factory=list)
    """What really stands at the source: reply, visibility, text."""
    policy: int = 0
    stopped: bool = False
    decided: dict[tuple[int, str], tuple[str, str]] = field(default_factory=dict)
    """By reply and digest: the basis and policy set on which it was let go last."""
    looked: dict[int, list[str | None]] = field(default_factory=dict)
    """Digests that a person has seen of a reply."""
    log: list[str] = field(default_factory=list)

    def step(self) -> None:
        """Somebody does something."""
        weights = ACTIONS
        name = self.random.choices(list(weights), list(weights.values()))[0]
        self.now += timedelta(seconds=self.random.choice((0.01, 0.2, 0.7, 3)))
        method: Callable[[], None] = getattr(self, name)
        method()

    def note(self, *words: object) -> None:
        """Keep what happened, to read when something goes wrong."""
        self.log.append(f"{(self.now - START).total_seconds():7.2f} {' '.join(map(str, words))}")

    # customers

    def say(self) -> None:
        """Somebody writes; the helpdesk does not know yet."""
        if len(self.messages) >= MOST:
            return
        visibility = self.random.choice(("public", "private"))
        words = self.random.choice(("hello", *SECRETS)) if visibility == "private" else "hello?"
        by = self.random.choice(("rita", "rita", "rita", "bob"))
        self.messages.append(
            {
                "id": f"m{len(self.messages)}",
                "visibility": visibility,
                "customer_id": by,
                "published_at": self.now,
                "seen_at": self.now,
                "done_at": None,
                "told_at": None,
                "told": False,
                "counted": False,
                "ticket_id": "one",
                "joined_at": None,
                "deleted_at": None,
                "revisions": 1,
                "text": words,
            }
        )
        self.note(by, "says", self.messages[-1]["id"], visibility, words)

    def tell(self) -> None:
        """The helpdesk gets the next message, and shows it with its own coarse time."""
        waiting = [one for one in self.messages if not one["told"]]
        if waiting:
            waiting[0].update(told=True, told_at=self.now, done_at=whole(self.now))
            self.note("told", waiting[0]["id"])

    def edit_message(self) -> None:
        """A customer edits."""
        if self.messages:
            one = self.random.choice(self.messages)
            one["revisions"] += 1
            self.note("edited", one["id"])

    def delete_message(self) -> None:
        """A customer deletes."""
        alive = [one for one in self.messages if one["deleted_at"] is None]
        if alive:
            one = self.random.choice(alive)
            one["deleted_at"] = self.now
            self.note("deleted", one["id"])

    # agents

    def write(self) -> None:
        """An agent answers what they see."""
        seen = [one for one in self.messages if one["told"] and one["deleted_at"] is None]
        mine = [one for one in seen if one["customer_id"] == "rita"] or seen
        if not mine or len(self.replies) >= MOST:
            return
        leg = self.random.choice((None, None, None, "public", "private"))
        words = self.random.choice(("thank you", "thank you", *SECRETS))
        number = len(self.replies)
        self.replies.append(
            {
                "number": number,
                "comment_id": f"c{number}",
                "interaction_id": None,
                "customers": ("rita",),
                "leg": leg,
                "text": f"{words} #{number}",
                "written_at": whole(self.now),
                "written_on": None,
                "state": "received",
                "code": None,
                "approved_digest": None,
                "waived": None,
                "findings": None,
                "digest": None,
                "rendered": None,
                "decided_on": None,
                "not_after": self.now + TTL,
                "amends": None,
                "meant": leg or mine[-1]["visibility"],
            }
        )
        self.note("agent writes", number, "leg", leg, "seeing", mine[-1]["id"], self.replies[-1]["meant"])

    def edit_reply(self) -> None:
        """The agent changes the text."""
        for reply in self._some(*CHANGEABLE):
            reply.update(text=reply["text"] + "!", state="received", code=None, approved_digest=None, waived=None)
            self.note("agent edits", reply["number"])

    def choose_leg(self) -> None:
        """The agent tags the ticket with a leg."""
        for reply in self._some("held"):
            if reply["leg"] is None and reply["code"] in ("newer_message", "more_public"):
                leg = self.random.choice(("public", "private"))
                reply.update(leg=leg, meant=leg, state="received", code=None)
                self.note("agent chooses", leg, "for", reply["number"])

    def look(self) -> None:
        """A person reads a held reply, and may act on it later."""
        for reply in self._some("held"):
            self.looked.setdefault(reply["number"], []).append(reply["digest"])

    def approve(self) -> None:
        """A person approves what they looked at, perhaps long ago."""
        if self.random.random() < 0.5:
            self.look()
        for reply in self._some("held"):
            digests = self.looked.get(reply["number"])
            if not digests or reply["code"] in ("target_deleted", "no_target"):
                continue
            digest = self.random.choice(digests)
            if digest != reply["digest"]:
                continue
            before = reply["waived"] or [] if reply["approved_digest"] == digest else []
            reply.update(
                state="received",
                code=None,
                approved_digest=digest,
                waived=[*before, *waivers_for(reply["findings"] or ())],
                not_after=max(reply["not_after"], self.now + TTL),
            )
            self.note("approved", reply["number"], reply["waived"])

    def reject(self) -> None:
        """A person rejects."""
        for reply in self._some("held"):
            reply.update(state="cancelled", code="rejected")
            self.note("rejected", reply["number"])

    # the machine

    def read(self) -> None:
        """A drain looks at a reply that it will decide on."""
        for reply in self._some("received"):
            heard = [dict(one) for one in self.messages]
            sight = Sight(dict(reply), heard, self.basis(), str(self.policy), self.said())
            self.sights.append((reply["number"], sight))

    def store(self) -> None:
        """The drain writes what it decided, if that is still what there is to decide."""
        if not self.sights:
            return
        number, sight = self.sights.pop(self.random.randrange(len(self.sights)))
        reply, was = self.replies[number], sight.reply
        same = all(reply[name] == was[name] for name in ("text", "leg", "approved_digest"))
        if reply["state"] != "received" or not same:
            return
        target = self.choose(was, sight.heard)
        if target.interaction is None or target.code == "target_deleted":
            reply.update(state="held", code=target.code, digest=None, rendered=None, findings=None)
            return
        rendered = render(was, target)
        if rendered is None:
            reply.update(state="failed", code="no_target")
            return
        findings = list(audience(was, target, rendered))
        if rendered.visibility == "public":
            leaks = self.leaks(rendered.text, *sides(sight.said))
            findings += [leaking(leaks)] if leaks else []
        ruling = rule(findings, was["approved_digest"], was["waived"], rendered.digest)
        reply.update(
            state=ruling.state,
            code=ruling.code,
            findings=list(ruling.open),
            digest=rendered.digest,
            rendered=rendered,
            interaction_id=target.interaction["id"],
            decided_on={"policy_set": sight.policy_set, "heard": sight.basis},
        )
        if ruling.state == "queued":
            self.decided[(number, rendered.digest)] = (sight.basis, sight.policy_set)
        self.note("decided", number, ruling.state, ruling.code, "→", target.interaction["id"], rendered.visibility)

    def claim(self) -> None:
        """A sender takes a queued reply off."""
        if self.stopped:
            return
        for reply in self._some("queued"):
            target = next(one for one in self.messages if one["id"] == reply["interaction_id"])
            row = {**reply, "deleted_at": target["deleted_at"], "heard_now": self.basis()}
            stands = (row["decided_on"] or {}).get("policy_set") == str(self.policy)
            leave = self.leave(row, stands, self.now)
            if leave.how == "again":
                reply.update(state="received")
            elif leave.how == "hold":
                reply.update(state="held", code=leave.code, findings=None)
            else:
                reply.update(state="sending")
                self.check_leaving(reply, target)
                self.flights.append((reply["number"], {"rendered": reply["rendered"]}))
            self.note("claim", reply["number"], leave)

    def land(self) -> None:
        """The call ends: well, proven not sent, or unknown with or without effect."""
        if not self.flights:
            return
        number, flight = self.flights.pop(self.random.randrange(len(self.flights)))
        reply = self.replies[number]
        how = self.random.choice(("sent", "sent", "refused", "lost", "timeout"))
        if self.stopped and self.random.random() < 0.5:
            how = "refused"  # the gate kept it back
        if how in ("sent", "timeout"):
            self.posts.append((number, flight["rendered"].visibility, flight["rendered"].text))
        reply.update(state={"sent": "sent", "refused": "queued"}.get(how, "unknown"))
        self.note("landed", number, how)

    def find(self) -> None:
        """The source is asked after an unknown outcome, and proves what became of it."""
        for reply in self._some("unknown"):
            there = any(number == reply["number"] for number, _, _ in self.posts)
            reply.update(state="sent" if there else "queued")

    def change_policy(self) -> None:
        """Another policy set comes into force."""
        self.policy += 1

    def stop(self) -> None:
        """Everything outbound is stopped, or goes on with all, some or none of what waited."""
        if self.stopped:
            released = self.random.choice(("all", "approved", "none"))
            for reply in self.replies:
                if reply["state"] in ("received", "queued") and (
                    released == "none" or (released == "approved" and reply["approved_digest"] is None)
                ):
                    reply.update(state="held", code="stopped", findings=None)
        self.stopped = not self.stopped

    # the truth

    def basis(self) -> str:
        """What of the matter is known: as `HEARD_BY` counts it."""
        deleted = sum(one["deleted_at"] is not None for one in self.messages)
        return f"{len(self.messages)}.{sum(one['revisions'] for one in self.messages)}.{deleted}"

    def said(self) -> list[dict[str, Any]]:
        """What was said, for the check of leaks."""
        return [
            {"visibility": one["visibility"], "text": one["text"], "handle": one["customer_id"], "name": None}
            for one in self.messages
        ]

    def check_leaving(self, reply: dict[str, Any], target: dict[str, Any]) -> None:
        """What leaves keeps every promise, by what the world knows."""
        number, rendered = reply["number"], reply["rendered"]
        where = "\n".join([*self.log, f"leaving: {reply}"])
        assert not any(one == number for one, _, _ in self.posts), f"sent twice\n{where}"
        assert not any(one == number for one, _ in self.flights), f"two at once\n{where}"
        assert rendered.text == reply["text"], f"not the agent's words\n{where}"
        assert self.decided.get((number, rendered.digest)) == (self.basis(), str(self.policy)), f"undecided\n{where}"
        assert target["deleted_at"] is None, f"to a deleted message\n{where}"
        assert reply["not_after"] >= self.now, f"stale\n{where}"
        waived = (
            {one["finding"] for one in reply["waived"] or ()} if reply["approved_digest"] == rendered.digest else set()
        )
        if waived:
            assert rendered.digest in self.looked[number], f"approved unseen\n{where}"
        if rendered.visibility == "public":
            assert reply["meant"] == "public" or waived & {
                "gateway@1:newer_message",
                "gateway@1:more_public",
            }, f"a private answer in public\n{where}"
            public = {one["text"] for one in self.messages if one["visibility"] == "public"}
            private = {one["text"] for one in self.messages if one["visibility"] == "private"}
            told = [one for one in SECRETS if one in rendered.text and one in private and one not in public]
            assert not told or "gateway@1:private_only" in waived, f"{told} made public\n{where}"
        assert reply["leg"] in (None, rendered.visibility), f"against the agent's choice\n{where}"

    def _some(self, *states: str) -> list[dict[str, Any]]:
        """One reply in one of these states, if there is any."""
        there = [one for one in self.replies if one["state"] in states]
        return [self.random.choice(there)] if there else []


ACTIONS = {
    "say": 3,
    "tell": 4,
    "edit_message": 0.5,
    "delete_message": 0.3,
    "write": 3,
    "edit_reply": 0.6,
    "choose_leg": 1.5,
    "look": 3,
    "approve": 4,
    "reject": 0.3,
    "read": 8,
    "store": 10,
    "claim": 7,
    "land": 5,
    "find": 2,
    "change_policy": 0.4,
    "stop": 0.4,
}


def render(reply: dict[str, Any], target: Target) -> Rendered | None:
    """The answer as the source would take it; None where there is no such way, as from private to public."""
    assert target.interaction is not None
    if target.visibility == "public" and target.interaction["visibility"] == "private":
        return None
    kind = "direct_message" if target.visibility == "private" else "comment"
    return Rendered(
        text=reply["text"],
        account="brand",
        target=ReplyTarget(kind=kind, ref=target.interaction["id"]),
        visibility=target.visibility,
        length=len(reply["text"]),
    )


def play(seed: int, steps: int = 70, **broken: Any) -> World:
    """One random evening. `broken` takes the place of parts of the product."""
    world = World(random.Random(seed), **broken)
    world.say()
    world.tell()
    for _ in range(steps):
        world.step()
    return world
