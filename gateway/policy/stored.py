"""Decisions as they are kept, and as they can be made again.

A decision keeps its case, but of the conversation only the names of the texts: they stand in the interactions'
revisions and in the replies already, and what is erased there is gone from every decision at once. Put together again,
case, subject and policy set give the same decision; what cannot be put together says why.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from pydantic import TypeAdapter, ValidationError
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.db.database import fetch_all
from gateway.policy.combine import Stance
from gateway.policy.engine import Question
from gateway.policy.sets import Active, Member, Place, PolicySetInForce, ordered
from gateway.registry import Registry
from gateway_schemas.decision import Case, ClockFacts, Point
from gateway_schemas.interaction import Interaction
from gateway_schemas.reply import Rendered
from gateway_schemas.ticket import TicketChanged


def packed(question: Question) -> dict[str, Any]:
    """A case to be kept, with what made the policies stricter or milder for the moment; texts of the conversation that
    have a name are left out. What was decided on is kept with it where it is stored nowhere else."""
    stance = question.stance
    document: dict[str, Any] = question.case.model_dump(mode="json", exclude_defaults=True)
    for entry in document.get("timeline", ()):
        if entry.get("ref") is not None:
            entry["text"] = ""
    if stance != Stance():
        document["stance"] = STANCE.dump_python(stance, mode="json")
    if question.point in KEPT_HERE:
        document["subject"] = question.subject.model_dump(mode="json", exclude_defaults=True)
        document["asked"] = [one.member.policy for one in question.members]
    return document


STANCE = TypeAdapter(Stance)
KEPT_HERE = ("on_ticket", "on_clock")
"""Points whose subject is stored with the decision and nowhere else."""


@dataclass(frozen=True)
class Past:
    """One decision put together again, or why it cannot be."""

    row: Mapping[str, Any]
    case: Case | None = None
    subject: Any = None
    stance: Stance = field(default_factory=Stance)
    asked: tuple[str, ...] | None = None
    """The policies that were asked, where that does not follow from the place: at the steps of clocks and the like."""
    missing: str = ""
    """Why it is not reproducible: `erased`, `expired`, `superseded`, `unreadable`."""

    @property
    def id(self) -> int:
        """The decision's id."""
        id: int = self.row["id"]
        return id

    def members(self, policies: PolicySetInForce) -> tuple[Active, ...]:
        """Whom of a set the same thing is put to."""
        if self.asked is None:
            return policies.asked(self.row["point"], self.place)
        return tuple(one for one in policies.policies if one.member.policy in self.asked and one.member.mode != "off")

    @property
    def place(self) -> Place:
        """What its policies' scopes look at."""
        assert self.case is not None
        heard = self.subject if isinstance(self.subject, Interaction) else self.case.interaction
        visibility = (
            self.subject.visibility if isinstance(self.subject, Rendered) else heard.visibility if heard else "public"
        )
        kind = heard.kind if heard is not None else "post"
        return Place(self.case.source, kind, visibility, self.case.brand, self.case.connection)


COLUMNS = """
d.id, d.point, d.thing_id, d.revision, d.ticket_id, d.policy_set_id, d.verdict, d.findings, d.effects, d."case", d.at
"""
SUBJECTS = f"""
SELECT {COLUMNS}, COALESCE(v.data, CASE WHEN r.digest = d.revision THEN r.rendered END) AS subject,
       r.id IS NOT NULL AS is_reply
FROM decision d
     LEFT JOIN revision v ON d.point IN ('on_interaction', 'on_own_post') AND v.interaction_id = d.thing_id
         AND v.revision = d.revision
     LEFT JOIN reply r ON d.point = 'review_reply' AND r.id = d.thing_id
"""
"""Decisions with what they were about. What people did at the helpdesk and the steps of clocks stand in the case."""


async def load(connection: AsyncConnection, where: str, **values: Any) -> list[Past]:
    """Put decisions together again, oldest first. `where` is a condition on `d`, with what comes behind it."""
    rows = await fetch_all(connection, f"{SUBJECTS} WHERE {where}", **values)
    texts = await _texts(connection, rows)
    return [_past(row, texts) for row in rows]


def _past(row: Mapping[str, Any], texts: Mapping[str, str]) -> Past:
    if row["case"] is None:
        return Past(row, missing="expired")
    document = dict(row["case"])
    stance = document.pop("stance", None)
    kept, asked = document.pop("subject", None), document.pop("asked", None)
    subject = kept if row["point"] in KEPT_HERE else row["subject"]
    if subject is None:
        return Past(row, missing="superseded" if row["is_reply"] else "erased")
    timeline = []
    for entry in document.get("timeline", ()):
        name = entry.get("ref")
        if name is not None and name not in texts:
            return Past(row, missing="erased")
        timeline.append({**entry, "text": texts[name]} if name is not None else entry)
    try:
        case = Case.model_validate({**document, "timeline": timeline})
        held = STANCE.validate_python(stance) if stance is not None else Stance()
        model = SUBJECT_MODELS[row["point"]]
        return Past(row, case, model.model_validate(subject), held, tuple(asked) if asked is not None else None)
    except ValidationError:
        return Past(row, missing="unreadable")


SUBJECT_MODELS: dict[str, Any] = {
    "on_interaction": Interaction,
    "on_own_post": Interaction,
    "review_reply": Rendered,
    "on_ticket": TicketChanged,
    "on_clock": ClockFacts,
}


async def _texts(connection: AsyncConnection, rows: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """The named texts of the rows' conversations, as far as they are still there."""
    names = {
        entry["ref"]
        for row in rows
        for entry in (row["case"] or {}).get("timeline", ())
        if entry.get("ref") is not None
    }
    said = sorted(name for name in names if name.startswith("i:"))
    sent = sorted(name for name in names if name.startswith("r:"))
    found = await fetch_all(
        connection,
        """SELECT g.name, v.data ->> 'text' AS text
           FROM unnest(CAST(:names AS text[]), CAST(:ids AS uuid[]), CAST(:revisions AS text[]))
                    AS g (name, id, revision)
                JOIN revision v ON v.interaction_id = g.id AND v.revision = g.revision
           WHERE v.data ? 'text'
           UNION ALL
           SELECT g.name, COALESCE(r.rendered ->> 'text', r.text)
           FROM unnest(CAST(:replies AS text[]), CAST(:reply_ids AS uuid[])) AS g (name, id)
                JOIN reply r ON r.id = g.id""",
        names=said,
        ids=[name.split(":", 2)[1] for name in said],
        revisions=[name.split(":", 2)[2] for name in said],
        replies=sent,
        reply_ids=[name.split(":", 2)[1] for name in sent],
    )
    return {row["name"]: row["text"] for row in found if row["text"] is not None}


async def sets_of(connection: AsyncConnection, registry: Registry, ids: Iterable[UUID]) -> dict[UUID, PolicySetInForce]:
    """Policy sets of the past, equipped with the code of today."""
    rows = await fetch_all(connection, "SELECT id, members FROM policy_set WHERE id = ANY(:ids)", ids=sorted(set(ids)))
    return {
        row["id"]: PolicySetInForce(
            row["id"], ordered(Active.of(Member.from_row(member), registry) for member in row["members"])
        )
        for row in rows
    }


def why_not_asked(one: Active, in_force: PolicySetInForce, point: Point, place: Place) -> str | None:
    """Why a policy of the set is not asked at a point; None where it is."""
    member = one.member
    if member.mode == "off":
        return "it is switched off"
    if point not in one.points:
        return f"its type {member.type} has nothing to say at {point}"
    if member.brand not in (None, place.brand):
        return f"it belongs to the brand {member.brand}"
    asked = {
        "sources": place.source,
        "brands": place.brand,
        "connections": place.connection,
        "visibility": place.visibility,
        "kinds": place.kind,
    }
    for name, value in asked.items():
        wanted: Sequence[Any] = member.scope.get(name) or ()
        if wanted and value not in wanted:
            return f"its scope names {name} {', '.join(map(str, wanted))}, and this is {value or 'none'}"
    if one not in in_force.asked(point, place):
        return f"the brand {place.brand} has a policy of its own of this type"
    return None
