"""Configuration as files over REST: planned, applied and exported as the documents that the files hold."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter
from pydantic import Field, SecretStr, StringConstraints

from gateway.api.deps import AppliesConfiguration, ReadsConfiguration, RuntimeDep
from gateway.api.models import Answer, Input
from gateway.api.problems import Problem
from gateway.api.routes import ApiRoute
from gateway.configuration import apply as applying
from gateway.configuration.documents import Document
from gateway.configuration.export import export
from gateway.configuration.plan import Bundle, Plan
from gateway.configuration.registry import all_kinds
from gateway.security.keys import Caller
from gateway.security.scopes import Scope


class ConfigurationRoute(ApiRoute):
    """A whole configuration comes in one body."""

    body_limit = 16 * 1024 * 1024


router = APIRouter(prefix="/config", tags=["configuration"], route_class=ConfigurationRoute)

Word = Annotated[str, StringConstraints(min_length=1, max_length=500)]


class DocumentModel(Input):
    """One thing, as its file says it."""

    kind: Word
    """`brands`, `apps`, `connections`, `calendars`, `lists`, `policies`: the folder's name."""
    file: Annotated[str, StringConstraints(min_length=1, max_length=500)] | None = None
    """What errors and plans call it: `brands/acme.yaml`."""
    content: dict[str, Any]
    """What the file says; secrets are placeholders: `{"from_env": "NAME"}` or `{"from_file": "PATH"}`."""


class PlanRequest(Input):
    """Documents to be applied."""

    documents: list[DocumentModel] = Field(max_length=5000)
    secrets: dict[Word, SecretStr] = Field(default_factory=dict)
    """Values by the names of placeholders. One without a value leaves a stored secret as it is."""
    prune: bool = False
    """Whether what no document names is removed: policies put away, calendars deleted, connections paused."""


class ApplyRequest(PlanRequest):
    """Documents to be applied as the plan said."""

    digest: Annotated[str, StringConstraints(min_length=1, max_length=100)]
    """The plan's. Where it would be another plan by now, nothing is applied."""
    reason: Annotated[str, StringConstraints(strip_whitespace=True, max_length=2000)] = ""
    """Why; needed where policies or lists change."""


class FieldChange(Answer):
    """One field that would change."""

    field: str
    before: Any = Field(alias="from")
    after: Any = Field(alias="to")


class ChangeView(Answer):
    """One thing that would change."""

    kind: str
    name: str
    """Of a connection with its role before it: `source Acme`."""
    file: str | None
    """Null where no document names it."""
    action: Literal["create", "change", "archive", "delete", "pause"]
    fields: list[FieldChange]


class PlanView(Answer):
    """What applying would do. Nothing has been changed."""

    digest: str
    """Give it to `apply`. It changes with the documents, and with whatever they were checked against."""
    changes: list[ChangeView]
    unchanged: int
    unnamed: list[str]
    """What no document names, and stays."""
    kept_secrets: list[str]
    """Placeholders without a value, whose stored secrets stay."""
    notes: list[str]
    needs_reason: bool


class AppliedView(Answer):
    """What was applied."""

    plan: PlanView
    next: list[str]
    """What is left to do, such as setting up new connections at their providers."""


class ConfigurationView(Answer):
    """All that files can say, as documents."""

    documents: list[DocumentModel]


@router.post("/plan")
async def plan_configuration(runtime: RuntimeDep, caller: AppliesConfiguration, given: PlanRequest) -> PlanView:
    """What applying documents would do. All of them are checked, and everything that is wrong is named at once.

    Needs the scopes for each kind among the documents, with `prune` for all kinds.
    """
    _check_scopes(caller, given)
    return view_of(await applying.plan_for(runtime, _bundle(given)))


@router.post("/apply")
async def apply_configuration(runtime: RuntimeDep, caller: AppliesConfiguration, given: ApplyRequest) -> AppliedView:
    """Do what a plan said, all of it or nothing. A plan that would be another one by now is answered with 409 and the
    new `plan`."""
    _check_scopes(caller, given)
    try:
        applied = await applying.apply(runtime, _bundle(given), digest=given.digest, reason=given.reason, caller=caller)
    except applying.ChangedMeanwhile as error:
        plan = view_of(error.plan).model_dump(mode="json", by_alias=True)
        raise Problem(409, "changed-meanwhile", str(error), plan=plan) from error
    return AppliedView(plan=view_of(applied.plan), next=list(applied.next))


@router.get("/export")
async def export_configuration(runtime: RuntimeDep, _: ReadsConfiguration) -> ConfigurationView:
    """Everything that files can say. Secrets are placeholders."""
    found = await export(runtime)
    return ConfigurationView(
        documents=[
            DocumentModel(kind=one.kind, file=one.document.file, content=dict(one.document.content)) for one in found
        ]
    )


def _bundle(given: PlanRequest) -> Bundle:
    documents = [
        Document(one.kind, one.content, one.file or f"documents.{number}") for number, one in enumerate(given.documents)
    ]
    return Bundle(documents, {name: value.get_secret_value() for name, value in given.secrets.items()}, given.prune)


def _check_scopes(caller: Caller, given: PlanRequest) -> None:
    """Each kind needs what its own routes need. Raises Problem 403."""
    kinds = {one.kind for one in given.documents}
    missing = {
        scope: kind.folder
        for kind in all_kinds()
        if kind.folder in kinds or (given.prune and kind.removal is not None)
        for scope in kind.scopes
        if scope not in caller.scopes
    }
    if missing:
        told = ", ".join(f"{scope} (for {folder})" for scope, folder in missing.items())
        raise Problem(
            403,
            "missing-scope",
            f"This needs the scopes {told}; the key {caller.prefix} lacks them.",
            missing=[str(scope) for scope in Scope if scope in missing],
        )


def view_of(plan: Plan) -> PlanView:
    """A plan as it is shown."""
    return PlanView(
        digest=plan.digest,
        changes=[
            ChangeView(
                kind=change.kind.folder,
                name=change.key,
                file=change.file or None,
                action=change.action,
                fields=[
                    FieldChange.model_validate({"field": one.field, "from": one.before, "to": one.after})
                    for one in change.differences
                ],
            )
            for change in plan.changes
        ],
        unchanged=plan.unchanged,
        unnamed=list(plan.unnamed),
        kept_secrets=list(plan.kept),
        notes=list(plan.notes),
        needs_reason=plan.needs_reason,
    )
