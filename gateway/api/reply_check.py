"""The reply guard as a service: what the policies in force would say of an answer, without sending or storing any."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Annotated, Any, Literal

from fastapi import APIRouter
from pydantic import Field, StringConstraints

from gateway.api.deps import ReadsReplies, RuntimeDep
from gateway.api.lookup import brand_of, connection_of
from gateway.api.models import Answer, Input, Instant, Reference
from gateway.api.problems import unavailable
from gateway.api.routes import ApiRoute
from gateway.db.database import fetch_one
from gateway.policy.combine import Stance
from gateway.policy.engine import Question, Verdict, evaluate_all
from gateway.policy.sets import Place
from gateway.runtime import Runtime
from gateway_schemas.capabilities import TextLimit
from gateway_schemas.decision import Case, TimelineEntry
from gateway_schemas.interaction import Author, Interaction, Kind, Rating, ReplyTarget, Visibility
from gateway_schemas.length import Counting, length
from gateway_schemas.reading import Coverage, Reading
from gateway_schemas.reply import Rendered

router = APIRouter(prefix="/replies", tags=["replies"], route_class=ApiRoute)

Words = Annotated[str, StringConstraints(min_length=1, max_length=20_000)]
TOLD = (
    "incentive_offered",
    "retraction_requested",
    "acknowledges",
    "apologises",
    "argues",
    "condescends_or_excuses",
    "invites_private",
    "asks_personal_data_publicly",
)
"""The signals that are told of; policies see more."""
TARGETS: dict[Kind, tuple[Literal["comment", "review", "direct_message", "mention"], ...]] = {
    "post": ("comment", "mention"),
    "comment": ("comment", "mention"),
    "review": ("review", "comment"),
    "direct_message": ("direct_message",),
}


class Answered(Input):
    """What the reply answers. The more of it is given, the more the policies can tell."""

    source: Reference | None = None
    """A source plugin: `google_business`, `x`. Its limit of length counts."""
    kind: Kind | None = None
    rating: float | None = None
    text: str = Field(default="", max_length=100_000)
    language: str | None = Field(default=None, max_length=35)
    """BCP 47; recognised from the texts where it is left out."""
    author: str | None = Field(default=None, max_length=200)
    """The customer's handle or name."""
    followers: int | None = Field(default=None, ge=0)
    published_at: Instant | None = None


class Earlier(Input):
    """One message of the conversation before this reply."""

    who: Literal["customer", "agent", "bystander"] = Field(alias="from")
    text: str = Field(max_length=100_000)
    visibility: Visibility | None = None
    """That of the reply where it is left out."""
    at: Instant | None = None


class Check(Input):
    """A reply to look at. Only `reply` is required."""

    reply: Words
    visibility: Visibility | None = None
    """Private for an answer to a direct message, else public, where it is left out."""
    sent_at: Instant | None = None
    """When it will be sent; promises in it fall due from then. Now, where it is left out."""
    brand: Reference | None = None
    connection: Reference | None = None
    """The source connection that it would be sent from, by id or name."""
    interaction: Answered = Answered()
    earlier: list[Earlier] = Field(default=[], max_length=200)
    """The conversation so far, public and private, oldest first."""


class Span(Answer):
    """The words that a finding rests on. Offsets count code points of the text named."""

    where: Literal["reply", "interaction", "earlier"] = Field(alias="in")
    start: int
    end: int
    text: str
    index: int | None = None
    """Which of `earlier`."""


class FindingView(Answer):
    """One thing that a policy noticed."""

    policy: str
    type: str
    revision: int
    severity: Literal["allow", "warn", "hold", "block"]
    code: str
    message: str
    evidence: list[Span]
    suggestion: str | None
    rule: str | None
    """The outside rule that it would break."""


class PromiseView(Answer):
    """Something that the reply promises."""

    quote: str
    due: date | None
    """By when; null for a promise without a date."""


class Checked(Answer):
    """What the policies in force say of the reply."""

    verdict: Literal["allow", "warn", "hold", "block"]
    coverage: Coverage
    """How far the reply's language was understood: with `none` the signals say nothing."""
    rendered: str
    length: int
    """In the units that the source counts by; characters where no source is named."""
    limit: int | None
    findings: list[FindingView]
    signals: dict[str, bool]
    promises: list[PromiseView]


@router.post("/check", response_model_by_alias=True)
async def check_reply(runtime: RuntimeDep, _: ReadsReplies, given: Check) -> Checked:
    """Look at a reply before it is sent: an agent's sidebar, a test run, a person with curl. Nothing is stored."""
    return await check(runtime, given)


async def check(runtime: Runtime, given: Check) -> Checked:
    """Ask the policies in force about a reply that nobody has written yet. Raises Problem 422 for unknown names."""
    place, timezone, visibility = await _place(runtime, given)
    now = given.sent_at or runtime.now()
    heard = _interaction(given, now)
    rendered = _rendered(runtime, given, place.source, visibility)
    in_force = await runtime.policies.in_force(runtime.now())
    case = Case(
        now=now,
        brand=place.brand,
        source=place.source,
        connection=place.connection,
        timezone=timezone,
        interaction=heard,
        timeline=_timeline(given, heard, visibility, now),
        lists=dict(in_force.lists),
    )
    stance = Stance(in_force.tightened, in_force.softened)
    members = in_force.asked("review_reply", place)
    question = Question("review_reply", case, rendered, members, stance, read=True)
    [verdict] = await evaluate_all(runtime.sandbox, [question])
    if verdict.reading is None:
        raise unavailable("The text could not be read: its reader failed.")
    return _answer(rendered, verdict, verdict.reading)


async def _place(runtime: Runtime, given: Check) -> tuple[Place, str, Visibility]:
    kind = given.interaction.kind or ("direct_message" if given.visibility == "private" else "post")
    visibility = given.visibility or ("private" if kind == "direct_message" else "public")
    source, brand, connection = given.interaction.source or "", None, None
    timezone = "UTC"
    if given.brand is not None or given.connection is not None:
        async with runtime.database.read() as database:
            brand_id = await brand_of(database, given.brand)
            if given.connection is not None:
                id = await connection_of(database, given.connection, "connection")
                row = await fetch_one(
                    database, "SELECT name, plugin, brand_id FROM connection WHERE id = :id AND role = 'source'", id=id
                )
                if row is not None:
                    source, connection, brand_id = source or row["plugin"], row["name"], brand_id or row["brand_id"]
            if brand_id is not None:
                found = await fetch_one(database, "SELECT name, timezone FROM brand WHERE id = :id", id=brand_id)
                if found is not None:
                    brand, timezone = found["name"], found["timezone"]
    return Place(source, kind, visibility, brand, connection), timezone, visibility


def _interaction(given: Check, now: datetime) -> Interaction:
    one = given.interaction
    kind = one.kind or ("direct_message" if given.visibility == "private" else "post")
    return Interaction(
        external_id="check",
        revision="1",
        account="check",
        kind=kind,
        visibility="private" if kind == "direct_message" else "public",
        author=Author(external_id=one.author or "customer", handle=one.author, followers=one.followers),
        text=one.text,
        language=one.language,
        rating=Rating(value=one.rating) if one.rating is not None else None,
        published_at=one.published_at or now,
    )


def _timeline(given: Check, heard: Interaction, visibility: Visibility, now: datetime) -> tuple[TimelineEntry, ...]:
    """The conversation in its order; it ends with what is answered."""
    said = [(one.who, one.text, one.visibility or visibility, one.at) for one in given.earlier]
    if heard.text and (not said or said[-1][:2] != ("customer", heard.text)):
        said.append(("customer", heard.text, heard.visibility, heard.published_at))
    return tuple(
        TimelineEntry(
            at=at or now - timedelta(minutes=len(said) - place),
            who=who,
            visibility=seen,
            text=text,
            language=heard.language if who == "customer" else None,
        )
        for place, (who, text, seen, at) in enumerate(said)
    )


def _rendered(runtime: Runtime, given: Check, source: str, visibility: Visibility) -> Rendered:
    kind = given.interaction.kind or ("direct_message" if visibility == "private" else "post")
    targets = ("direct_message",) if visibility == "private" else TARGETS[kind]
    plugin = runtime.registry.sources.get(source)
    limits: dict[str, TextLimit] = plugin.capabilities.text if plugin is not None else {}
    limit = next((limits[target] for target in targets if target in limits), None)
    return Rendered(
        text=given.reply,
        account="check",
        target=ReplyTarget(kind=targets[0], ref="check"),
        visibility=visibility,
        length=length(given.reply, limit.counting, reserved_url=limit.reserved_url)
        if limit is not None
        else len(given.reply),
        limit=limit.limit if limit is not None else None,
        counting=limit.counting if limit is not None else Counting.code_points,
    )


def _answer(rendered: Rendered, verdict: Verdict, reading: Reading) -> Checked:
    findings: list[dict[str, Any]] = [
        one for one in verdict.findings if one["mode"] != "shadow" and one["severity"] != "allow"
    ]
    severity = verdict.severity.value
    if rendered.limit is not None and rendered.length > rendered.limit:
        severity = "block"
        findings.insert(0, _too_long(rendered))
    return Checked(
        verdict=severity,  # type: ignore[arg-type]
        coverage=reading.coverage,
        rendered=rendered.text,
        length=rendered.length,
        limit=rendered.limit,
        findings=[FindingView(**{name: one[name] for name in FindingView.model_fields}) for one in findings],
        signals={signal: reading.has(signal) for signal in TOLD},
        promises=[
            PromiseView(quote=one.quote, due=one.due.date() if one.due is not None else None)
            for one in reading.promises
        ],
    )


def _too_long(rendered: Rendered) -> dict[str, Any]:
    return {
        "policy": "gateway",
        "type": "gateway",
        "revision": 0,
        "severity": "block",
        "code": "too_long",
        "message": f"It is too long for this channel: {rendered.length} of at most {rendered.limit}.",
        "evidence": [],
        "suggestion": "Shorten it, or go on in private.",
        "rule": None,
    }
