"""What routes ask for: the runtime, and a caller who may do that."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

from fastapi import Depends, Request
from fastapi.security import HTTPBearer
from fastapi.security.http import HTTPAuthorizationCredentials

from gateway.api.limits import Limits
from gateway.api.problems import Problem, unavailable
from gateway.pipeline.people import Login, has_address, is_here, link_subject
from gateway.runtime import Runtime
from gateway.security.audit import Origin
from gateway.security.keys import Caller, KeyRefused, recognise
from gateway.security.openid import OpenId, ProviderAway, TokenRefused, looks_like_token
from gateway.security.roles import scopes_of
from gateway.security.scopes import MEANING, Scope
from gateway.tracing.logs import subject

bearer = HTTPBearer(
    auto_error=False,
    scheme_name="api_key",
    description="`Authorization: Bearer hg_…`, an API key, or a token of the company's OpenID Connect provider where "
    "one is set up. The first key is printed at the first start; `POST /v1/keys` makes others. Scopes:\n\n"
    + "\n".join(f"- `{scope}`: {MEANING[scope]}" for scope in Scope),
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
        actor_kind="key" if caller.subject is None else "subject",
        actor_id=str(caller.id) if caller.subject is None else " ".join(caller.subject),
        actor_name=caller.name,
        key_prefix=caller.prefix or None,
        address=request.client.host if request.client is not None else None,
        trace_id=subject().get("trace_id"),
    )


RuntimeDep = Annotated[Runtime, Depends(runtime_of)]


async def caller_of(request: Request) -> Caller:
    """Whose API key or token the request carries; looked up once. Raises Problem 401, 429 and 503."""
    known: Caller | None = getattr(request.state, "caller", None)
    if known is not None:
        return known
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    headers = {"WWW-Authenticate": "Bearer"}
    if scheme.lower() != "bearer" or not given.strip():
        raise Problem(401, "unauthenticated", "Send the header Authorization: Bearer <API key>.", headers=headers)
    # header values arrive as Latin-1; a bootstrap key may hold anything
    given = given.strip().encode("latin-1").decode("utf-8", "surrogateescape")
    runtime: Runtime = request.app.state.runtime
    openid: OpenId | None = request.app.state.openid
    try:
        if openid is not None and looks_like_token(given):
            caller = await _holder(request, runtime, openid, given)
        else:
            caller = await recognise(runtime.database, given, runtime.now())
    except (KeyRefused, TokenRefused) as error:
        headers = {"WWW-Authenticate": 'Bearer error="invalid_token"'}
        raise Problem(401, "unauthenticated", str(error), headers=headers) from error
    except ProviderAway as error:
        raise unavailable(str(error)) from error
    limits: Limits = request.app.state.limits
    request.state.standing = standing = limits.spend(caller.origin, caller.rate_limit)
    if standing is not None and not standing.allowed:
        detail = f"More than {standing.quota} requests a minute; the next one in {standing.retry_after} seconds."
        raise Problem(429, "too-many-requests", detail)
    request.state.caller = caller
    return caller


async def _holder(request: Request, runtime: Runtime, openid: OpenId, token: str) -> Caller:
    """Whose token it is. Raises TokenRefused and ProviderAway."""
    identity = await openid.identify(token)
    whose = (identity.issuer, identity.subject)
    scopes = frozenset(str(scope) for scope in scopes_of(identity.roles))
    caller = Caller(identity.id, identity.name, "", scopes, origin=identity.id, subject=whose, roles=identity.roles)
    async with runtime.database.read() as connection:
        here = await is_here(connection, whose)
        unlinked = here is None and identity.email is not None and await has_address(connection, identity.email)
    if here is False:
        raise TokenRefused(f"{identity.name} was removed from the people of this gateway.")
    if unlinked:
        async with runtime.audit.on_record(replace(origin_of(request, caller), action="link_subject")).write() as tx:
            await link_subject(tx, whose, str(identity.email))
    return caller


def login_of(caller: Caller) -> Login:
    """A caller as one who writes or decides."""
    if caller.subject is not None:
        return Login(caller.name, subject=caller.subject)
    return Login(caller.name, key=caller.id)


class Needs:
    """A dependency: the caller, who has at least one of these scopes. Raises Problem 401, 403 and 429."""

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
                f"This needs the scope {wanted}; {caller.means} has {has}.",
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
ReadsRoles = Annotated[Caller, needs(Scope.read, Scope.admin)]
Administers = Annotated[Caller, needs(Scope.admin)]
Anybody = Annotated[Caller, needs(*Scope)]
