"""Which policies are in force: an immutable set of revisions, named by its content.

The set in force at a time follows from stored rows alone: of each policy's activations that cover the time, the one
that began last. Whoever looks at the right time sees what was scheduled for it, with no restart and no job in between.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import ValidationError

from gateway.db.database import Database, as_json, fetch_all
from gateway.db.tables.columns import new_id
from gateway.policy.versions import versions
from gateway.registry import Registry
from gateway_schemas.conditions import ConditionError
from gateway_schemas.conditions import needs as needs_of_condition
from gateway_schemas.decision import Severity
from gateway_schemas.policy import Needs, Policy

POINTS = ("on_interaction", "review_reply", "on_own_post", "on_ticket", "on_clock")


@dataclass(frozen=True)
class Place:
    """What is asked about, as far as scopes look at it."""

    source: str
    kind: str
    visibility: str
    brand: str | None = None
    connection: str | None = None


@dataclass(frozen=True)
class Member:
    """One policy revision of a set. Equal content makes equal members."""

    policy: str
    type: str
    type_version: str
    revision: int
    params: dict[str, Any]
    mode: str
    on_error: str
    scope: dict[str, Any]
    order: int = 100
    on_uncovered: str = "warn"
    on_timeout: dict[str, Any] = field(default_factory=dict)
    brand: str | None = None
    """The brand whose own policy this is."""
    locked: bool = False

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Member:
        """A member as stored in its set."""
        return cls(**row)

    def covers(self, place: Place) -> bool:
        """Whether the structured scope covers this; languages and `when` are looked at in the sandbox."""
        if self.mode == "off" or self.brand not in (None, place.brand):
            return False
        asked = {
            "sources": place.source,
            "brands": place.brand,
            "connections": place.connection,
            "visibility": place.visibility,
            "kinds": place.kind,
        }
        return all(not self.scope.get(name) or value in self.scope[name] for name, value in asked.items())


@dataclass(frozen=True)
class Active:
    """A member of the set in force with what its type declares."""

    member: Member
    needs: Needs
    points: frozenset[str]
    """The points that its type acts on."""
    tone: bool = False
    many: bool = False
    key: str = ""
    """Names type, version and parameters: equal keys need one instance."""

    @classmethod
    def of(cls, member: Member, registry: Registry) -> Active:
        """Equip a member. One whose code is gone is asked at all points, and its silence counts as an error."""
        key = hashlib.sha256(as_json([member.type, member.type_version, member.params]).encode()).hexdigest()[:24]
        plugin = registry.policies.get(member.type)
        needs = _needs_of(member, plugin)
        if plugin is None:
            return cls(member, needs, frozenset(POINTS), many=True, key=key)
        # a point that the type leaves as it is in the base class needs no call
        own = {name for base in plugin.__mro__[: plugin.__mro__.index(Policy)] for name in vars(base)}
        return cls(member, needs, frozenset(own) & set(POINTS), plugin.tone, plugin.many, key)


def _needs_of(member: Member, plugin: type[Policy[Any]] | None) -> Needs:
    needs = Needs()
    when = member.scope.get("when")
    try:
        if when is not None:
            needs = needs_of_condition(when)
        if plugin is not None:
            needs = needs.union(plugin.needs_of(plugin.Params.model_validate(member.params)))
    except (ValidationError, ConditionError):
        pass  # it is asked all the same, and fails with the reason
    return needs


@dataclass(frozen=True)
class PolicySetInForce:
    """The set that decides now, and what makes it stricter or milder for the moment."""

    id: UUID
    policies: tuple[Active, ...] = ()
    tightened: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Least severities of findings by policy, for each open incident by its key."""
    softened: bool = False
    """Whether policies of manners only warn, because they were holding too much."""
    lists: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    _asked: dict[tuple[str, Place], tuple[Active, ...]] = field(
        default_factory=dict, init=False, compare=False, repr=False
    )
    """Known answers; `replace` begins anew, for other policies are asked then."""

    @property
    def members(self) -> tuple[Member, ...]:
        """The revisions of the set."""
        return tuple(one.member for one in self.policies)

    @property
    def basis(self) -> str:
        """Names all of the above: what was decided on another basis is decided again before it goes out."""
        if not self.tightened and not self.softened:
            return str(self.id)
        moment = json.dumps([self.tightened, self.softened], sort_keys=True)
        return f"{self.id}:{hashlib.sha256(moment.encode()).hexdigest()[:16]}"

    def asked(self, point: str, place: Place) -> tuple[Active, ...]:
        """Who is asked at a point, in the explicit order of the policies.

        A brand's own policy takes the place of the company's of the same type, unless that is locked: then both are
        asked, and the strictest finding wins, so that a brand can only add to it.
        """
        known = self._asked.get((point, place))
        if known is None:
            known = self._asked[point, place] = self._find(point, place)
        return known

    def _find(self, point: str, place: Place) -> tuple[Active, ...]:
        covering = [one for one in self.policies if point in one.points and one.member.covers(place)]
        own = {
            one.member.type
            for one in self.policies
            if one.member.brand is not None and one.member.brand == place.brand and not one.many
        }
        return tuple(
            one
            for one in covering
            if one.member.brand is not None or one.member.locked or one.many or one.member.type not in own
        )

    def needs(self, point: str) -> Needs:
        """What all who may be asked at a point read together."""
        found = Needs()
        for one in self.policies:
            if point in one.points and one.member.mode != "off":
                found = found.union(one.needs)
        return found


def ordered(policies: Iterable[Active]) -> tuple[Active, ...]:
    """The explicit order of policies: by their order, then by name."""
    return tuple(sorted(policies, key=lambda one: (one.member.order, one.member.policy)))


def digest(members: Sequence[Mapping[str, Any]], versions: Mapping[str, Any] | None = None) -> str:
    """The name of a set: equal content, equal name, in whatever order members and keys come."""
    content = [sorted(members, key=lambda one: str(one["policy"])), versions or {}]
    return hashlib.sha256(json.dumps(json.loads(as_json(content)), sort_keys=True).encode()).hexdigest()


IN_FORCE = """
SELECT DISTINCT ON (a.policy_id) p.name AS policy, p.type, p.locked, b.name AS brand, a.revision, r.content
FROM policy_activation a JOIN policy p ON p.id = a.policy_id LEFT JOIN brand b ON b.id = p.brand_id
     LEFT JOIN policy_revision r ON r.policy_id = a.policy_id AND r.number = a.revision
WHERE a.effective_from <= :at AND (a.effective_until IS NULL OR a.effective_until > :at) AND a.withdrawn_at IS NULL
ORDER BY a.policy_id, a.effective_from DESC, a.id DESC
"""
MOMENT = """
SELECT 'incident' AS what, key AS name, tighten AS value, 0 AS version FROM incident WHERE closed_at IS NULL
UNION ALL SELECT 'breaker', '', NULL, 0 FROM tone_breaker WHERE reset_at IS NULL
UNION ALL SELECT 'list', w.name, to_jsonb(w.entries), w.version FROM word_list w
    JOIN (SELECT name, max(version) AS version FROM word_list GROUP BY name) AS newest USING (name, version)
"""
PUT = """
INSERT INTO policy_set (id, digest, members, versions, created_at)
VALUES (:id, :digest, CAST(:members AS jsonb), CAST(:versions AS jsonb), clock_timestamp())
ON CONFLICT (digest) DO UPDATE SET digest = EXCLUDED.digest RETURNING id
"""


class PolicySets:
    """Knows the set in force, at most a second late."""

    def __init__(self, database: Database, registry: Registry) -> None:
        self._database = database
        self._registry = registry
        self._kept: tuple[float, PolicySetInForce] | None = None
        self._known: dict[str, UUID] = {}
        self._seen: tuple[list[Any], PolicySetInForce] | None = None
        """What was read last, and the set that it makes: most looks find nothing new."""
        self._looks = 0
        self._latest: datetime | None = None

    async def in_force(self, now: datetime) -> PolicySetInForce:
        """The set in force, as of a second ago at most."""
        if self._kept and time.monotonic() - self._kept[0] < 1.0:
            return self._kept[1]
        looks = self._looks
        # whoever asks with the time of a moment ago must not keep what was in force then
        self._latest = max(now, self._latest or now)
        found = await self.at(self._latest)
        if looks == self._looks:  # else it was looked at before what is to be seen
            self._kept = (time.monotonic(), found)
        return found

    def is_newest(self, found: PolicySetInForce) -> bool:
        """Whether this process knows of nothing newer. Asked by whoever acts on a set that was read before a wait."""
        return self._kept is not None and self._kept[1] is found

    def forget(self, now: datetime) -> None:
        """Look again at the next question, for whoever has just changed what is in force."""
        self._kept = None
        self._latest = max(now, self._latest or now)
        self._looks += 1

    async def at(self, at: datetime) -> PolicySetInForce:
        """The set in force at a time that has come, with the incidents, the breaker and the lists of this moment."""
        async with self._database.read() as connection:
            rows = await fetch_all(connection, IN_FORCE, at=at)
            moment = await fetch_all(connection, MOMENT)
        seen = [tuple(row.values()) for row in (*rows, *moment)]
        if self._seen is not None and self._seen[0] == seen:
            return self._seen[1]
        found = await self._made(rows, moment)
        self._seen = (seen, found)
        return found

    async def _made(self, rows: Sequence[Mapping[str, Any]], moment: Sequence[Mapping[str, Any]]) -> PolicySetInForce:
        members = [member_of(row, self._registry) for row in rows if row["revision"] is not None]
        policies = ordered(Active.of(member, self._registry) for member in members)
        used = {name for one in policies for name in one.needs.lists}
        lists = {row["name"]: row for row in moment if row["what"] == "list" and row["name"] in used}
        id = await self._id(members, {name: row["version"] for name, row in sorted(lists.items())})
        return PolicySetInForce(
            id,
            policies,
            {row["name"]: row["value"] for row in moment if row["what"] == "incident" and row["value"]},
            any(row["what"] == "breaker" for row in moment),
            {name: tuple(row["value"]) for name, row in lists.items()},
        )

    async def _id(self, members: Sequence[Member], lists: Mapping[str, int]) -> UUID:
        """The set's row, made when it is seen for the first time."""
        content = [asdict(member) for member in members]
        known = {**versions(self._registry), "lists": lists}
        name = digest(content, known)
        if name not in self._known:
            async with self._database.write() as connection:
                row = await fetch_all(
                    connection, PUT, id=new_id(), digest=name, members=as_json(content), versions=as_json(known)
                )
            self._known = {name: row[0]["id"]}
        return self._known[name]


def member_of(row: Mapping[str, Any], registry: Registry) -> Member:
    """A member out of a policy and one of its revisions."""
    plugin = registry.policies.get(row["type"])
    content = row["content"]
    return Member(
        policy=row["policy"],
        type=row["type"],
        type_version=plugin.version if plugin is not None else "",
        revision=row["revision"],
        brand=row["brand"],
        locked=row["locked"],
        **{name: content[name] for name in CONTENT},
    )


CONTENT = ("mode", "params", "scope", "order", "on_error", "on_uncovered", "on_timeout")
assert set(CONTENT) <= {one.name for one in fields(Member)}


def least(tightened: Mapping[str, Mapping[str, str]], policy: str) -> tuple[Severity, str] | None:
    """How strict a policy's findings are at least because of open incidents, and the incident that says so."""
    found = [(Severity(by[policy]), key) for key, by in sorted(tightened.items()) if policy in by]
    return max(found, key=lambda one: one[0].rank, default=None)
