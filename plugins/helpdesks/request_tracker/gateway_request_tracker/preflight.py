"""What of the system works against us: what REST 2 shows of it, each with where it is and the mend."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from gateway_request_tracker.api import Api, quoted, status_of
from gateway_request_tracker.words import MAIL_RECORDS
from gateway_schemas.errors import GatewayError, Gone, Rejected
from gateway_schemas.plugin import HealthFinding, Step

UNSEEN = (
    Step(
        action="ask",
        what="look at Admin → Global → Scrips, and at the queue's own",
        detail="REST does not show them: “On Create Autoreply To Requestors”, “On Correspond Notify Requestors and "
        "Ccs” and “On Resolve Notify Requestors” mail whoever has an e-mail address. The gateway's customers have "
        "none; do not add one to them. A scrip that resolves or deletes tickets by itself should leave out those whose "
        "key field is set",
    ),
    Step(
        action="ask",
        what="look at the rt-crontool jobs of the server",
        detail="REST does not show them: one that resolves, rejects or deletes old tickets does so to ours",
    ),
)
"""What RT's REST 2 shows nobody, told at each install."""


_ACCESS = {"credentials", "no_access"}


def finding(severity: Literal["info", "warning", "error"], code: str, message: str, mend: str) -> HealthFinding:
    """One thing that is wrong."""
    concern: Literal["access", "push", "other"] = "access" if code in _ACCESS else "other"
    return HealthFinding(severity=severity, code=code, message=message, mend=mend, concern=concern)


class Preflight:
    """Reads only. Raises Retry when RT cannot be asked now."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.config = api.config

    async def run(self, me: Mapping[str, Any]) -> list[HealthFinding]:
        """Every conflict, of the queues first."""
        found = [*self._user(me)]
        for name in self.config.watched:
            queue = await self.queue(name)
            if queue is None:
                text = f"the queue “{name}” does not exist, or the API user may not see it"
                found.append(finding("error", "queue_unknown", text, "correct the config, or grant SeeQueue"))
            else:
                found += self._queue(name, queue)
        return [*found, *await self._mails()]

    async def queue(self, name: str) -> dict[str, Any] | None:
        """A queue by its name; None for one that we do not see."""
        try:
            return await self.api.get(f"queue/{name}")
        except (Gone, Rejected) as error:
            if status_of(error) not in (400, 403, 404):
                raise
            return None

    def fields_missing(self, queue: Mapping[str, Any]) -> list[str]:
        """Custom fields that the config names and that the queue's tickets do not have, for all that we see."""
        listed = queue.get("TicketCustomFields")
        there = {str(one.get("name")) for one in (listed if isinstance(listed, list) else []) if isinstance(one, dict)}
        wanted = [self.config.key_field, self.config.tags_field, *self.config.fields.values()]
        return [name for name in dict.fromkeys(one for one in wanted if one is not None) if name not in there]

    def _user(self, me: Mapping[str, Any]) -> Iterator[HealthFinding]:
        name, where = me.get("Name"), "Admin → Users"
        if str(me.get("Privileged")) != "1":
            text = f"the API user {name} is not privileged, and sees no comments"
            yield finding("error", "api_user_unprivileged", text, f"{where}: let this user be granted rights")
        if str(me.get("Disabled")) == "1":
            yield finding("error", "api_user_disabled", f"the API user {name} is disabled", f"{where}: enable it")

    def _queue(self, name: str, queue: Mapping[str, Any]) -> Iterator[HealthFinding]:
        where = f"Admin → Queues → {name}"
        if str(queue.get("Disabled")) == "1":
            yield finding("error", "queue_disabled", f"the queue “{name}” is disabled", f"{where}: enable it")
        links = queue.get("_hyperlinks")
        refs = {one.get("ref") for one in (links if isinstance(links, list) else []) if isinstance(one, dict)}
        if "create" not in refs:
            text = f"the API user may not create tickets in the queue “{name}”"
            yield finding("error", "no_create", text, f"{where} → User Rights: grant CreateTicket")
        for field in self.fields_missing(queue):
            # RT passes over what it does not know without a word
            key = field == self.config.key_field
            text = f"the queue “{name}” has no custom field “{field}” for tickets, or the API user may not see it"
            if key:
                text += "; without it a ticket could not be found again, and be made twice"
            mend = "make it (install can), apply it to the queue, and grant SeeCustomField and ModifyCustomField"
            yield finding("error", "key_field_missing" if key else "field_missing", text, mend)
        watchers = [role for role in ("Cc", "AdminCc") if queue.get(role)]
        if watchers:
            text = (
                f"the queue “{name}” has watchers ({', '.join(watchers)}), who get a mail for each customer's message"
            )
            yield finding("info", "queue_watchers", text, f"{where} → Watchers: make sure that this is meant")
        if queue.get("CorrespondAddress"):
            text = f"the queue “{name}” takes mail at {queue['CorrespondAddress']}: what comes in there stands beside "
            text += "the gateway's tickets, and answers by mail count as mails"
            yield finding("info", "queue_mail", text, "let the gateway have a queue of its own")

    async def _mails(self) -> list[HealthFinding]:
        """Whether RT mailed about tickets of ours: the scrips themselves are not to be seen, what they did is."""
        where = " OR ".join(f"TicketQueue = {quoted(queue)}" for queue in self.config.watched)
        kinds = " OR ".join(f"Type = {quoted(kind)}" for kind in MAIL_RECORDS[:1])
        mine = "" if self.config.api_user is None else f" AND TicketCreator = {quoted(self.config.api_user)}"
        asked = {"query": f"({where}) AND ({kinds}){mine}", "fields": "ObjectId", "orderby": "id", "order": "DESC"}
        try:
            told = await self.api.page("transactions", asked)
        except GatewayError as error:
            if status_of(error) in (400, 403, 404):
                return []
            raise
        if not told:
            return []
        text = f"RT has sent mails about tickets of the gateway's, such as {told[0].get('ObjectId')}"
        mend = (
            "open the ticket and see to whom (“Outgoing email recorded”): if to customers, take the address off them; "
        )
        mend += "if by a scrip that should leave them alone, add a condition to it"
        return [finding("warning", "mails_sent", text, mend)]


def as_steps(findings: Sequence[HealthFinding]) -> list[Step]:
    """Findings as an install tells them."""
    return [Step(action="ask", what=one.message, detail=one.mend) for one in findings]
