"""How the twin answers: who is calling, how often they may, and Google's refusals (google.rpc.Status)."""

from __future__ import annotations

import json
import secrets
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from typing import Any
from urllib.parse import parse_qsl

from joserfc import jws, jwt
from joserfc.errors import JoseError
from joserfc.jwk import RSAKey
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from gateway_schemas.time import TimeSource

Json = dict[str, Any]
PUBLISHER = "https://www.googleapis.com/auth/androidpublisher"
GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
AUDIENCE = "https://oauth2.googleapis.com/token"
TOKEN_SECONDS = 3599
SKEW = timedelta(minutes=5)
_TYPE = "type.googleapis.com/google.rpc."


class Refusal(Exception):
    """An answer other than success, in Google's words."""

    def __init__(self, code: int, status: str, message: str, *details: Json, reason: str = "") -> None:
        super().__init__(status)
        self.code = code
        error: Json = {"code": code, "message": message, "status": status}
        if reason:
            error["errors"] = [{"message": message, "domain": "androidpublisher", "reason": reason}]
        if details:
            error["details"] = list(details)
        self.body = {"error": error}


def invalid(message: str, field: str = "") -> Refusal:
    """A request with something that Google does not take."""
    violation = {"description": message} | ({"field": field} if field else {})
    details = {"@type": _TYPE + "BadRequest", "fieldViolations": [violation]}
    return Refusal(400, "INVALID_ARGUMENT", message, details)


def not_found(message: str, reason: str) -> Refusal:
    """What is not there, or what the caller may not know of."""
    return Refusal(404, "NOT_FOUND", message, reason=reason)


def forbidden() -> Refusal:
    """What the caller may not do."""
    return Refusal(403, "PERMISSION_DENIED", "The caller does not have permission", reason="permissionDenied")


@cache
def _rsa() -> RSAKey:
    """One key for all twins of a process: making one takes longer than most tests do."""
    return RSAKey.generate_key(2048)


@dataclass
class ServiceAccount:
    """A service account with its key, and what it may do in the Play Console."""

    email: str
    key_id: str
    key: RSAKey
    revoked: bool = False
    may: dict[str, set[str]] = field(default_factory=dict)
    """By package: `view` and `reply`."""

    def key_file(self) -> str:
        """The JSON file that Google gives for the key."""
        return json.dumps(
            {
                "type": "service_account",
                "project_id": "acme-twin",
                "private_key_id": self.key_id,
                "private_key": self.key.as_pem(private=True).decode(),
                "client_email": self.email,
                "client_id": "104857600000000000001",
                "auth_uri": "https://accounts.google.com/o/oauth2/auth",
                "token_uri": AUDIENCE,
                "universe_domain": "googleapis.com",
            }
        )


@dataclass(frozen=True)
class Call:
    """One request that got past authentication and quotas."""

    request: Request
    package: str

    def query(self, allowed: Collection[str]) -> Mapping[str, str]:
        """The query parameters. Raises Refusal for one that the method does not have."""
        for name in self.request.query_params:
            if name not in allowed:
                raise invalid(f'Invalid JSON payload received. Unknown name "{name}": Cannot bind query parameter.')
        return self.request.query_params

    async def body(self, allowed: Collection[str]) -> Json:
        """The JSON body. Raises Refusal for what is not JSON, and for fields the message does not have."""
        try:
            body = json.loads(await self.request.body())
        except ValueError:
            body = None
        if not isinstance(body, dict):
            raise invalid("Invalid JSON payload received. Expected an object.")
        for name, value in body.items():
            if name not in allowed:
                raise invalid(f'Invalid JSON payload received. Unknown name "{name}": Cannot find field.')
            if not isinstance(value, str):
                raise invalid(f"Invalid value at '{name}' (TYPE_STRING)", name)
        return body


Handler = Callable[[Call], Awaitable[Json]]


class Wire:
    """Tokens, permissions and quotas around every endpoint."""

    def __init__(self, time: TimeSource) -> None:
        self.time = time
        self.accounts: dict[str, ServiceAccount] = {}
        self.packages: set[str] = set()
        self.reads: int | None = 200
        """Requests for reviews an hour, for each app; None for no limit."""
        self.writes: int | None = 2000
        """Replies a day, for each app."""
        self.disabled = False
        """Whether the API is not enabled for the project."""
        self._tokens: dict[str, tuple[str, datetime]] = {}
        self._used: Counter[tuple[str, str, str]] = Counter()

    def add_account(self, name: str) -> ServiceAccount:
        """A service account of the project."""
        email = f"{name}@acme-twin.iam.gserviceaccount.com"
        account = ServiceAccount(email, secrets.token_hex(20), _rsa())
        self.accounts[email] = account
        return account

    def expire_tokens(self) -> None:
        """All access tokens stop."""
        self._tokens.clear()

    def route(self, method: str, path: str, handler: Handler, right: str) -> BaseRoute:
        """One endpoint of an app's reviews."""

        async def endpoint(request: Request) -> Response:
            try:
                return JSONResponse(await handler(self._admit(request, right)))
            except Refusal as refusal:
                return JSONResponse(refusal.body, refusal.code)

        prefix = "/androidpublisher.googleapis.com/androidpublisher/v3/applications/{package}"
        return Route(prefix + path, endpoint, methods=[method])

    def token_route(self) -> BaseRoute:
        """Where assertions become access tokens."""
        return Route("/oauth2.googleapis.com/token", self._token, methods=["POST"])

    def _admit(self, request: Request, right: str) -> Call:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        email, until = self._tokens.get(token, ("", self.time.now()))
        if scheme.lower() != "bearer" or until <= self.time.now():
            message = "Request had invalid authentication credentials."
            raise Refusal(401, "UNAUTHENTICATED", message, reason="authError")
        if self.disabled:
            info = {"@type": _TYPE + "ErrorInfo", "reason": "SERVICE_DISABLED", "domain": "googleapis.com"}
            message = (
                "Google Play Android Developer API has not been used in project acme-twin before or it is disabled."
            )
            raise Refusal(403, "PERMISSION_DENIED", message, info, reason="accessNotConfigured")
        package = str(request.path_params["package"])
        if package not in self.packages:
            raise not_found(f"Package not found: {package}.", "applicationNotFound")
        if right not in self.accounts[email].may.get(package, set()):
            raise forbidden()
        if right == "view":
            self._count("reads", package, f"{self.time.now():%Y%m%d%H}", self.reads)
        else:
            self._count("replies", package, f"{self.time.now():%Y%m%d}", self.writes)
        return Call(request, package)

    def _count(self, what: str, package: str, window: str, limit: int | None) -> None:
        self._used[what, package, window] += 1
        if limit is not None and self._used[what, package, window] > limit:
            info = {
                "@type": _TYPE + "ErrorInfo",
                "reason": "RATE_LIMIT_EXCEEDED",
                "domain": "googleapis.com",
                "metadata": {"service": "androidpublisher.googleapis.com", "quota_limit_value": str(limit)},
            }
            message = f"Quota exceeded for quota metric '{what}' of {package}."
            raise Refusal(429, "RESOURCE_EXHAUSTED", message, info, reason="rateLimitExceeded")

    async def _token(self, request: Request) -> Response:
        form = dict(parse_qsl((await request.body()).decode()))
        if form.get("grant_type") != GRANT:
            return _oauth_error("unsupported_grant_type", f"Invalid grant_type: {form.get('grant_type')}")
        now = self.time.now()
        try:
            issuer = json.loads(jws.extract_compact(form.get("assertion", "").encode()).payload)["iss"]
            account = self.accounts[issuer]
            claims = jwt.decode(form["assertion"], account.key, algorithms=["RS256"]).claims
        except (JoseError, ValueError, LookupError, TypeError):
            return _oauth_error("invalid_grant", "Invalid JWT Signature.")
        if account.revoked:
            return _oauth_error("invalid_grant", "Invalid JWT Signature.")
        try:
            issued, ends = (datetime.fromtimestamp(int(claims[name]), now.tzinfo) for name in ("iat", "exp"))
        except (KeyError, ValueError, OverflowError):
            return _oauth_error("invalid_grant", "Invalid JWT: iat and exp are required.")
        if issued > now + SKEW or ends < now or not timedelta() < ends - issued <= timedelta(hours=1):
            message = "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe."
            return _oauth_error("invalid_grant", message)
        if claims.get("aud") != AUDIENCE:
            return _oauth_error("invalid_grant", "Failed audience check.")
        if PUBLISHER not in str(claims.get("scope", "")).split():
            return _oauth_error("invalid_scope", "Invalid OAuth scope or ID token audience provided.")
        access = f"ya29.twin-{secrets.token_urlsafe(12)}"
        self._tokens[access] = (account.email, now + timedelta(seconds=TOKEN_SECONDS))
        return JSONResponse({"access_token": access, "expires_in": TOKEN_SECONDS, "token_type": "Bearer"})


def _oauth_error(error: str, description: str) -> Response:
    return JSONResponse({"error": error, "error_description": description}, 400)
