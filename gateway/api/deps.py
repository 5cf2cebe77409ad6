"""What routes ask for: the runtime, and a caller who may do that."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

from fastapi import Depends, Request
from fastapi.security import HTTPBearer
from fastapi.security.http import HTTPAuthorizationCredentials

from gateway.api.problems import Problem
from gateway.runtime import Runtime
from gateway.security.audit import Origin
from gateway.security.keys import Caller, KeyRefused, recognise
from gateway.security.scopes import MEANING, Scope
from gateway.tracing.logs import subject

bearer = HTTPBearer(
    auto_error=False,
    scheme_name="api_key",
    description="`Authorization: Bearer hg_…`. The first key is printed at the first start; `POST /v1/keys` makes "
    "others. Scopes:\n\n" + "\n".join(f"- `{scope}`: {MEANING[scope]}" for scope in Scope),
)


READING = frozenset({"GET", "HEAD", "OPTIONS"})


async def runtime_of(request: Request) -> Runtime:
    """The runtime that the app's lifespan opened; to a route that changes things, with its caller on record.

    There each write transaction ends with the entry in the audit log that tells of it. Raises Problem 401.
    """
    runtime: Runtime = request.app.state.runtime
    if request.method in READING:
        return runtime
    return replace(runtime, database=runtime.audit.on_record(origin_of(request, await caller_of(request))))


def origin_of(request: Request, caller: Caller) -> Origin:
    """Who asks for what, and from where, for the audit log."""
    return Origin(
        action=request.scope["route"].name,
        actor_kind="key",
        actor_id=str(caller.id),
        actor_name=caller.name,
        key_prefix=caller.prefix,
        address=request.client.host if request.client is not None else None,
        trace_id=subject().get("trace_id"),
    )


RuntimeDep = Annotated[Runtime, Depends(runtime_of)]


async def caller_of(request: Request) -> Caller:
    """Whose API key the request carries; looked up once. Raises Problem 401."""
    known: Caller | None = getattr(request.state, "caller", None)
    if known is not None:
        return known
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    headers = {"WWW-Authenticate": "Bearer"}
    if scheme.lower() != "bearer" or not key.strip():
        raise Problem(401, "unauthenticated", "Send the header Authorization: Bearer <API key>.", headers=headers)
    # header values arrive as Latin-1; a bootstrap key may hold anything
    key = key.strip().encode("latin-1").decode("utf-8", "surrogateescape")
    runtime: Runtime = request.app.state.runtime
    try:
        caller = await recognise(runtime.database, key, runtime.now())
    except KeyRefused as error:
        headers = {"WWW-Authenticate": 'Bearer error="invalid_token"'}
        raise Problem(401, "unauthenticated", str(error), headers=headers) from error
    request.state.caller = caller
    return caller


class Needs:
    """A dependency: the caller, whose key has at least one of these scopes. Raises Problem 401 and 403."""

    def __init__(self, *scopes: Scope) -> None:
        self.scopes = scopes

    async def __call__(
        self, request: Request, _: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)]
    ) -> Caller:
        caller = await caller_of(request)
        if not caller.scopes & set(self.scopes):
            has = ", ".join(scope for scope in Scope if scope in caller.scopes) or "none"
            wanted = " or ".join(self.scopes)
            raise Problem(
                403,
                "missing-scope",
                f"This needs the scope {wanted}; the key {caller.prefix} has {has}.",
                missing=[str(scope) for scope in self.scopes],
            )
        return caller


def needs(*scopes: Scope) -> Any:
    """Declare a route's scopes: `caller: Annotated[Caller, needs(Scope.connections)]`. One of several is enough."""
    return Depends(Needs(*scopes))


ReadsConnections = Annotated[Caller, needs(Scope.read, Scope.connections)]
WritesConnections = Annotated[Caller, needs(Scope.connections)]
ReadsDeliveries = Annotated[Caller, needs(Scope.read, Scope.operations)]
Operates = Annotated[Caller, needs(Scope.operations)]
ReadsOperations = Annotated[Caller, needs(Scope.read, Scope.operations_read, Scope.operations)]
ReadsMetrics = Annotated[Caller, needs(Scope.read, Scope.operations_read)]
ReadsTickets = Annotated[Caller, needs(Scope.read, Scope.tickets)]
WritesTickets = Annotated[Caller, needs(Scope.tickets)]
ReadsReplies = Annotated[Caller, needs(Scope.read, Scope.replies, Scope.tickets)]
WritesReplies = Annotated[Caller, needs(Scope.replies)]
ReadsOutbound = Annotated[Caller, needs(Scope.read, Scope.outbound)]
StopsOutbound = Annotated[Caller, needs(Scope.outbound)]
ReadsDecisions = Annotated[Caller, needs(Scope.read, Scope.policies_draft, Scope.policies_activate, Scope.replies)]
ReadsPolicies = Annotated[Caller, needs(Scope.read, Scope.policies_draft, Scope.policies_activate)]
DraftsPolicies = Annotated[Caller, needs(Scope.policies_draft)]
ActivatesPolicies = Annotated[Caller, needs(Scope.policies_activate)]
ReadsAudit = Annotated[Caller, needs(Scope.audit, Scope.admin)]
AppliesConfiguration = Annotated[Caller, needs(Scope.connections, Scope.policies_draft, Scope.policies_activate)]
ReadsConfiguration = Annotated[Caller, needs(Scope.read)]
ReadsSubscriptions = Annotated[Caller, needs(Scope.read, Scope.subscriptions)]
WritesSubscriptions = Annotated[Caller, needs(Scope.subscriptions)]
Administers = Annotated[Caller, needs(Scope.admin)]
