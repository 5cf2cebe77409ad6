"""How the twin's Graph API answers: tokens and their proof, permissions, usage, field selection, pages, refusals."""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from starlette.requests import Request

from gateway_meta.twin_state import TwinToken
from gateway_schemas.signatures import sign_hmac

if TYPE_CHECKING:
    from gateway_meta.twin import MetaTwin

Json = dict[str, Any]
HOUR = timedelta(hours=1)


class Refusal(Exception):
    """An answer other than success, in Meta's form."""

    def __init__(
        self,
        message: str,
        code: int,
        subcode: int | None = None,
        *,
        status: int = 400,
        type: str = "OAuthException",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.headers = dict(headers or {})
        error: Json = {"message": message, "type": type, "code": code, "fbtrace_id": "AtwinTrace0000000000000"}
        if subcode is not None:
            error["error_subcode"] = subcode
        self.body = {"error": error}


def invalid(message: str) -> Refusal:
    """A parameter that Meta finds wrong."""
    return Refusal(f"(#100) {message}", 100)


def missing(id: str) -> Refusal:
    """An object that is not there, or not to be seen with this token."""
    return Refusal(
        f"Unsupported request. Object with ID '{id}' does not exist, cannot be loaded due to missing permissions, or "
        "does not support this operation.",
        100,
        33,
        type="GraphMethodException",
    )


def iso(at: datetime) -> str:
    """A time as the Graph API gives it."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S+0000")


@dataclass
class Call:
    """One request that got past authentication."""

    twin: MetaTwin
    request: Request
    token: TwinToken
    version: str
    path: tuple[str, ...]
    parameters: Json

    @property
    def me(self) -> str:
        """Whose token it is."""
        return self.token.owner

    def needs(self, scope: str) -> None:
        """Raises Refusal where the token lacks a permission."""
        if scope not in self.token.scopes:
            code = 230 if scope == "pages_messaging" else 200
            raise Refusal(f"(#{code}) Requires {scope} permission to manage the object", code, status=403)

    def text(self, name: str) -> str | None:
        """A parameter as text."""
        value = self.parameters.get(name)
        return value if isinstance(value, str) else None

    def flag(self, name: str) -> bool | None:
        """A parameter that is true or false."""
        value = self.parameters.get(name)
        if value in (True, "true", "1", 1):
            return True
        return False if value in (False, "false", "0", 0) else None

    def object(self, name: str) -> Json:
        """A parameter that is an object, as JSON or as text that holds JSON."""
        value = self.parameters.get(name)
        if isinstance(value, str):
            try:
                value = json.loads(value)
            except ValueError:
                value = None
        if not isinstance(value, dict):
            raise invalid(f"The parameter {name} is required")
        return value


class Wire:
    """Authentication and usage around every call."""

    def __init__(self, twin: MetaTwin) -> None:
        self.twin = twin
        self._windows: dict[tuple[str, str], tuple[datetime, int]] = {}

    async def call(self, request: Request, version: str, path: str) -> Call:
        """Read one request. Raises Refusal."""
        parameters: Json = dict(request.query_params)
        kind = request.headers.get("content-type", "").partition(";")[0]
        if request.method == "POST" and kind == "application/json":
            try:
                body = json.loads(await request.body() or b"{}")
            except ValueError:
                body = None
            if not isinstance(body, dict):
                raise invalid("The body is no JSON object")
            parameters |= body
        elif request.method == "POST":
            async with request.form() as form:
                for name, value in form.items():
                    parameters[name] = value if isinstance(value, str) else value.filename
        token = self._token(request, parameters)
        return Call(self.twin, request, token, version, tuple(path.strip("/").split("/")), parameters)

    def _token(self, request: Request, parameters: Json) -> TwinToken:
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        given = given if scheme.lower() in ("bearer", "oauth") else str(parameters.pop("access_token", ""))
        if not given:
            raise Refusal("An access token is required to request this resource.", 104)
        token = self.twin.state.tokens.get(given)
        if token is None:
            raise Refusal("Invalid OAuth access token - Cannot parse access token", 190, status=401)
        if token.dead is not None:
            raise Refusal("Error validating access token: The session has been invalidated.", 190, token.dead)
        if token.expires_at is not None and token.expires_at <= self.twin.time.now():
            raise Refusal("Error validating access token: Session has expired.", 190, 463)
        proof = parameters.pop("appsecret_proof", None)
        instagram_login = token.kind == "account" and token.owner in self.twin.instagram_logins
        if proof is not None or (self.twin.require_proof and not instagram_login):
            right = sign_hmac(given.encode(), self.twin.app_secret)
            if not isinstance(proof, str) or not hmac.compare_digest(proof, right):
                message = "Invalid appsecret_proof provided in the API argument"
                raise Refusal(message, 100, type="GraphMethodException")
        return token

    def usage(self, call: Call) -> dict[str, str]:
        """Count a call; the headers tell how much is used. Raises Refusal above the limit."""
        if call.token.kind == "app":
            return {"x-app-usage": json.dumps({"call_count": 1, "total_time": 1, "total_cputime": 1})}
        messaging = call.path[-1] in ("messages", "conversations")
        account = self.twin.state.accounts.get(call.me)
        instagram = account is not None and account.platform == "instagram"
        for one in call.path:
            known = self.twin.state.accounts.get(one)
            instagram = instagram or (known is not None and known.platform == "instagram")
        kind = "instagram" if instagram else "messenger" if messaging else "pages"
        allowed = self.twin.allowed.get(kind)
        if allowed is None:
            return {}
        now = self.twin.time.now()
        start, used = self._windows.get((call.me, kind), (now, 0))
        if now - start >= HOUR:
            start, used = now, 0
        self._windows[(call.me, kind)] = (start, used + 1)
        left = max(1, round((start + HOUR - now) / timedelta(minutes=1)))
        over = used >= allowed
        share = min(100, round(100 * (used + 1) / max(1, allowed)))
        case = {
            "type": kind,
            "call_count": share,
            "total_cputime": 1,
            "total_time": 1,
            "estimated_time_to_regain_access": left if over else 0,
        }
        headers = {"x-business-use-case-usage": json.dumps({call.me: [case]})}
        if over:
            code = {"pages": 80001, "messenger": 80006, "instagram": 80002}[kind]
            message = f"(#{code}) There have been too many calls to this account. Wait a bit and try again."
            raise Refusal(message, code, headers=headers)
        return headers


# fields


@dataclass(frozen=True)
class Asked:
    """One field that was asked for, with its modifiers and what was asked of its node."""

    modifiers: Mapping[str, str]
    inner: Mapping[str, Asked] | None


def parse_fields(text: str) -> dict[str, Asked]:
    """Read `id,comments.filter(stream).limit(5){id,from}`. Raises Refusal as Meta does."""
    found, rest = _fields(text)
    if rest:
        raise Refusal(f"Syntax error \"Expected end of string instead of '{rest[:1]}'.\"", 2500)
    return found


def _fields(text: str) -> tuple[dict[str, Asked], str]:
    found: dict[str, Asked] = {}
    while True:
        length = 0
        while length < len(text) and (text[length].isalnum() or text[length] == "_"):
            length += 1
        name, text = text[:length], text[length:]
        if not name:
            raise Refusal('Syntax error "Field name expected."', 2500)
        modifiers: dict[str, str] = {}
        while text.startswith("."):
            key, _, text = text[1:].partition("(")
            modifiers[key], _, text = text.partition(")")
        inner = None
        if text.startswith("{"):
            inner, text = _fields(text[1:])
            if not text.startswith("}"):
                raise Refusal('Syntax error "Expected }."', 2500)
            text = text[1:]
        found[name] = Asked(modifiers, inner)
        if not text.startswith(","):
            return found, text
        text = text[1:]


def unknown_field(name: str, node: str) -> Refusal:
    """A field that a node of this type does not have."""
    return Refusal(f"(#100) Tried accessing nonexisting field ({name}) on node type ({node})", 100)


# lists


def page_of(
    ids: Iterable[str],
    parameters: Mapping[str, Any],
    *,
    default: int = 25,
    url: str = "https://graph.facebook.com/next",
) -> tuple[list[str], Json]:
    """The part of a list that a call asks for, and its `paging`. Raises Refusal."""
    everything = list(ids)
    limit = parameters.get("limit", default)
    if not str(limit).isdecimal() or not 1 <= int(limit) <= 100:
        raise invalid(f"Param limit must be a number between 1 and 100, got {limit}")
    start = 0
    if after := parameters.get("after"):
        try:
            last = base64.urlsafe_b64decode(str(after).encode()).decode()
            start = everything.index(last) + 1
        except ValueError:
            raise invalid("Invalid cursors values provided") from None
    chosen = everything[start : start + int(limit)]
    if not chosen:
        return [], {}
    paging: Json = {"cursors": {"before": cursor(chosen[0]), "after": cursor(chosen[-1])}}
    if start + len(chosen) < len(everything):
        paging["next"] = f"{url}?after={cursor(chosen[-1])}"
    return chosen, paging


def cursor(id: str) -> str:
    """Meta's word for a place in a list."""
    return base64.urlsafe_b64encode(id.encode()).decode()


def listing(nodes: list[Json], paging: Json) -> Json:
    """A list as the Graph API gives it."""
    return {"data": nodes, "paging": paging} if paging else {"data": nodes}
