"""What the gateway does of itself in the evening, seen over REST and at the helpdesk, and what people do over REST.

It warns, notes breaches and broken promises, opens incidents and counts messages under them; they settle promises, put
policies into force and end incidents.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from gateway.demo.conductor import NotSeen
from gateway.demo.rest import Rest
from gateway.demo.script import Line
from gateway.demo.twins import HelpdeskTwin

LOOK = 0.15
POLICIES_ARE_READ = 1.2
"""Workers look for policies newly in force once a (real) second."""
RESPONSES = ("first_response", "next_response")
T = TypeVar("T")


@dataclass
class Observer:
    """Asks until it sees what the script says, and tells what it saw. `ticket` is the helpdesk's number of one."""

    rest: Rest
    helpdesk: HelpdeskTwin
    patience: float = 45.0
    """Real seconds to wait for one thing."""
    _ids: dict[int, str] = field(default_factory=dict)
    """The gateway's ids of tickets, by number."""

    async def step(self, line: Line, ticket: int) -> str:
        """A response clock of the ticket has warned, or is breached, after so many minutes."""
        kind, tag = ("warned", "sla_warning") if line.deed == "warned" else ("breached", "sla_breach")

        async def told() -> str | None:
            id = await self._ticket(ticket)
            for clock in (await self.rest.get("clocks", ticket=id))["items"]:
                if clock["kind"] not in RESPONSES:
                    continue
                for event in (await self.rest.get(f"clocks/{clock['id']}"))["events"]:
                    passed = (event["data"].get("share") or 0) * (clock["minutes"] or 0)
                    if event["kind"] == kind and math.isclose(passed, line.minutes or 0):
                        which = clock["kind"].replace("_", " ")
                        return f"{passed:.0f} of {clock['minutes']:.0f} minutes for the {which} have passed"
            return None

        await self._until_tagged(ticket, tag)
        said = f"{await self._until(told, f'{line.deed} after {line.minutes} minutes')}: ticket {ticket} has {tag}"
        if line.deed == "warned":
            return said
        alarm = await self._alarm(ticket, "sla_breach")
        return f"{said} and priority {self._document(ticket)['priority']}. Alarm: {alarm}"

    async def promise(self, line: Line, ticket: int) -> str:
        """A promise of the ticket was kept or is broken."""

        async def settled() -> dict[str, Any] | None:
            found = await self._promises(ticket, line.text)
            return next((one for one in found if one["state"] == line.deed), None)

        promise = await self._until(settled, f"“{line.text}” {line.deed}")
        if line.deed == "kept":
            return f"ticket {ticket}: {promise['evidence']}"
        await self._until_tagged(ticket, "promise_broken")
        return f"ticket {ticket} has promise_broken. Alarm: {await self._alarm(ticket, 'promise_broken')}"

    async def settle(self, line: Line, ticket: int) -> str:
        """A person says over REST that the promise was kept."""

        async def there() -> dict[str, Any] | None:
            return next(iter(await self._promises(ticket, line.text)), None)

        promise = await self._until(there, f"the promise “{line.text}”")
        evidence = f"{line.who} has seen to it"
        settled = await self.rest.post(f"promises/{promise['id']}/settle", {"outcome": "kept", "evidence": evidence})
        return f"ticket {ticket}: {settled['state']}, {settled['evidence']}"

    async def activate(self, line: Line) -> str:
        """An admin gives a policy parameters and puts it into force."""
        policy = await self._policy(line.text)
        path, reason = f"policies/{policy['id']}", f"{line.who}: an evening, not a week"
        await self.rest.change(path, {"mode": "on", "params": dict(line.params)})
        revision = await self.rest.post(f"{path}/revisions", {"reason": reason})
        await self.rest.post("policies/activate", {"policies": [{"policy": policy["name"]}], "reason": reason})
        await asyncio.sleep(POLICIES_ARE_READ)
        values = ", ".join(f"{name} {value}" for name, value in line.params.items())
        return f"in force as revision {revision['number']}: {values}"

    async def opened(self, ticket: int) -> str:
        """An incident was opened whose ticket this is."""
        incident = await self._until(lambda: self._incident(ticket), f"an incident with ticket {ticket}")
        await self._until_tagged(ticket, f"incident:{incident['key']}")
        await self.noted(ticket, "Incident: ")
        alarm = await self._alarm(ticket, "incident_opened")
        return f"what says the same is counted on ticket {ticket} from now on. Alarm: {alarm}"

    async def counted(self, text: str, ticket: int) -> str:
        """A message was counted under the ticket of an incident."""

        async def there() -> dict[str, Any] | None:
            document = await self.rest.get(f"tickets/{await self._ticket(ticket)}")
            return next((entry for entry in document["timeline"] if entry["text"] == text), None)

        await self._until(there, f"“{text}” counted under ticket {ticket}")
        incident = await self._incident(ticket)
        messages = incident["messages"] if incident else 0
        return f"no ticket of its own: ticket {ticket} stands for {messages} messages now"

    async def grown(self, line: Line, ticket: int) -> str:
        """The ticket of an incident says for how many messages it stands."""
        await self.noted(ticket, f"stands for {line.count} messages")
        return f"ticket {ticket} has a note with the newest of them"

    async def end(self, line: Line, ticket: int) -> str:
        """A person says over REST that an incident is over."""
        incident = await self._until(lambda: self._incident(ticket), f"an incident with ticket {ticket}")
        await self.rest.post(f"incidents/{incident['id']}/close", {"reason": line.text})
        return f"closed, with {incident['messages']} messages"

    async def judged(self, line: Line, ticket: int) -> None:
        """The answer was kept back by the policy that the script names. Raises NotSeen when it was another."""
        replies = (await self.rest.get("replies", ticket=await self._ticket(ticket)))["items"]
        reply = next(one for one in replies if one["text"] == line.text)
        decisions = (await self.rest.get(f"replies/{reply['id']}"))["decisions"]
        findings = [finding for decision in decisions for finding in decision["findings"]]
        if not any(one["policy"] == line.policy and one.get("evidence") for one in findings):
            raise NotSeen(f"“{line.text}” kept back by {line.policy}, with evidence: {findings}")

    async def approved(self, text: str, ticket: int, by: str) -> str:
        """Who approved the answer with this text."""

        async def sent() -> dict[str, Any] | None:
            replies = (await self.rest.get("replies", ticket=await self._ticket(ticket), state="sent"))["items"]
            return next((one for one in replies if one["text"] == text), None)

        reply = await self._until(sent, f"“{text}” as sent, by the gateway")
        if reply["approved_by"] != by or reply["author_name"] == by:
            raise NotSeen(f"“{text}” approved by {by}, who did not write it: {reply}")
        return f"approved by {by}, written by {reply['author_name']}"

    # asking

    async def _until(self, ask: Callable[[], Awaitable[T | None]], what: str) -> T:
        try:
            async with asyncio.timeout(self.patience):
                while (found := await ask()) is None:
                    await asyncio.sleep(LOOK)
                return found
        except TimeoutError:
            raise NotSeen(f"{what} was not seen within {self.patience:.0f} s") from None

    async def _ticket(self, number: int) -> str:
        """The gateway's id of a ticket, once it knows what number the helpdesk gave it."""

        async def known() -> str | None:
            found = (await self.rest.get("tickets", external_id=str(number)))["items"]
            return str(found[0]["id"]) if found else None

        if number not in self._ids:
            self._ids[number] = await self._until(known, f"ticket {number} at the gateway")
        return self._ids[number]

    async def _promises(self, ticket: int, quote: str) -> list[dict[str, Any]]:
        found = (await self.rest.get("promises", ticket=await self._ticket(ticket)))["items"]
        return [one for one in found if one["quote"] == quote]

    async def _incident(self, ticket: int) -> dict[str, Any] | None:
        id = await self._ticket(ticket)
        found: list[dict[str, Any]] = (await self.rest.get("incidents", open="true"))["items"]
        return next((one for one in found if one["ticket_id"] == id), None)

    async def _policy(self, type: str) -> Mapping[str, Any]:
        return next(iter([one async for one in self.rest.listed("policies") if one["type"] == type]))

    async def _alarm(self, ticket: int, code: str) -> str:
        async def raised() -> str | None:
            found = (await self.rest.get("alarms", ticket=await self._ticket(ticket)))["items"]
            return next((str(one["message"]) for one in found if one["code"] == code), None)

        return await self._until(raised, f"the alarm {code} of ticket {ticket}")

    async def _until_tagged(self, ticket: int, tag: str) -> None:
        async def tagged() -> bool | None:
            return tag in self.tags(ticket) or None

        await self._until(tagged, f"the tag {tag} on ticket {ticket}")

    async def noted(self, ticket: int, words: str) -> str:
        """A private note on the ticket that has these words."""

        async def there() -> str | None:
            comments = self._document(ticket)["comments"]
            texts = (str(one["body"]) for one in comments if not one["public"])
            return next((text for text in texts if words in text), None)

        return await self._until(there, f"a note with “{words}” on ticket {ticket}")

    def tags(self, ticket: int) -> list[str]:
        """The ticket's tags at the helpdesk."""
        return [str(tag) for tag in self._document(ticket)["tags"]]

    def _document(self, ticket: int) -> dict[str, Any]:
        documents: list[dict[str, Any]] = self.helpdesk.snapshot()["tickets"]
        return next(document for document in documents if str(document["id"]) == str(ticket))
