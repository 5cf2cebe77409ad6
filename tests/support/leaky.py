"""A source that tells its secrets in every error it raises, as an inattentive author's would."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import Any, ClassVar
from urllib.parse import quote

from pydantic import BaseModel, SecretStr, field_validator

from gateway_schemas import hookimpl
from gateway_schemas.capabilities import SourceCapabilities
from gateway_schemas.errors import GatewayError, Gone, Malformed, Reauthorise, Rejected, Retry, Unknown, Unverified
from gateway_schemas.interaction import Normalised, Wanted
from gateway_schemas.plugin import AccountRef, Health, HealthFinding, InstallReport
from gateway_schemas.reply import Draft, Rendered, Sent
from gateway_schemas.source import Source
from gateway_schemas.webhook import Page, RawDelivery, RawPage, WebhookRequest, WebhookResponse

MODULE = "support.leaky"


class LeakyConfig(BaseModel):
    """One account."""

    token: SecretStr
    more: dict[str, SecretStr] = {}
    error: str = "Retry"
    form: str = "plain"

    @field_validator("token")
    @classmethod
    def _check(cls, token: SecretStr) -> SecretStr:
        if "wrong" in token.get_secret_value():
            raise ValueError(f"{token.get_secret_value()!r} is no token")
        return token


ERRORS: dict[str, type[Exception]] = {
    one.__name__: one
    for one in (Retry, Unknown, Rejected, Reauthorise, Gone, Malformed, Unverified, ValueError, KeyError, OSError)
} | {"SystemExit": SystemExit}  # type: ignore[dict-item]

FORMS = {
    "plain": lambda token: token,
    "repr": lambda token: repr({"token": token}),
    "json": lambda token: json.dumps({"authorization": f"Bearer {token}"}),
    "url": lambda token: f"https://api.example/v1?access_token={quote(token, safe='')}&x=1",
    "basic": lambda token: (
        "authorization: Basic " + base64.b64encode(f"someone@x.example/token:{token}".encode()).decode()
    ),
    "base64": lambda token: base64.b64encode(b"a:" + token.encode() + b":b").decode(),
    "hex": lambda token: token.encode().hex(),
    "cut": lambda token: f"the answer began with {token[: len(token) * 2 // 3]}",
    "cut and ended": lambda token: f"the answer began with {token[: len(token) * 2 // 3]}…",
}


class LeakySource(Source[LeakyConfig]):
    """Fails at everything, and tells why."""

    name: ClassVar[str] = "leaky"
    title: ClassVar[str] = "Leaky"
    Config = LeakyConfig
    capabilities: ClassVar[SourceCapabilities] = SourceCapabilities(
        kinds=frozenset({"post"}), webhook=True, poll=True, streams=("posts",), reply=True, delete=True
    )

    @classmethod
    def account_of(cls, config: LeakyConfig) -> str:
        return "1"

    def _fail(self, error: str | None = None) -> Exception:
        words = FORMS[self.config.form](self.config.token.get_secret_value())
        kind = ERRORS[error or self.config.error]
        if issubclass(kind, GatewayError):
            return kind(words, code="leaky")
        return kind(words)

    def verify(self, request: WebhookRequest) -> WebhookResponse | None:
        if request.header("x-token") != self.config.token.get_secret_value() and request.query_value("token") is None:
            raise self._fail(request.header("x-fail"))
        return None

    def normalise(self, delivery: RawDelivery) -> Sequence[Normalised]:
        raise self._fail(delivery.body.decode() or None)

    def render(self, draft: Draft) -> Rendered:
        raise self._fail()

    async def poll(self, stream: str, cursor: dict[str, Any] | None) -> Page:
        raise self._fail()

    async def fetch(self, wanted: Sequence[Wanted]) -> Sequence[RawPage]:
        raise self._fail()

    async def send(self, rendered: Rendered, key: str) -> Sent:
        raise self._fail()

    async def retract(self, sent: Sent) -> None:
        raise self._fail()

    async def check(self) -> Health:
        if self.config.error == "ValueError":
            words = FORMS[self.config.form](self.config.token.get_secret_value())
            return Health(ok=False, findings=(HealthFinding(severity="error", code="x", message=words, mend=words),))
        raise self._fail()

    async def install(self, *, dry_run: bool) -> InstallReport:
        raise self._fail()

    async def discover(self) -> Sequence[AccountRef]:
        raise self._fail()


@hookimpl
def register_sources() -> list[type[Source[Any]]]:
    """Called once at start."""
    return [LeakySource]


__all__ = ["ERRORS", "FORMS", "MODULE"]
