"""The enricher: one signed question for each account, its answer the facts."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, timedelta
from typing import Any

from pydantic import BaseModel

from gateway_http_facts.config import HttpFactsConfig
from gateway_schemas.decision import Case
from gateway_schemas.enricher import Enricher
from gateway_schemas.errors import Gone, Malformed
from gateway_schemas.http import call, json_object
from gateway_schemas.plugin import Health, Setup
from gateway_schemas.signatures import sign_standard


class HttpFacts(Enricher[HttpFactsConfig]):
    """Posts who wrote, and where, to the company's own address, and takes the JSON object it answers as the facts."""

    name = "http_facts"
    title = "Facts over HTTP"
    Config = HttpFactsConfig

    def __init__(self, setup: Setup[HttpFactsConfig]) -> None:
        super().__init__(setup)
        self.deadline = timedelta(seconds=self.config.deadline)
        self.cache = timedelta(minutes=self.config.cache_minutes)

    @classmethod
    def hosts_of(cls, config: HttpFactsConfig, app: BaseModel | None = None) -> tuple[str, ...]:
        """The one address."""
        return (config.url,)

    async def enrich(self, case: Case) -> dict[str, Any]:
        """Ask about the message's author. 404 and 410 say that nobody knows them: no facts, and no failure.

        A question has no effect, so it may come twice; its `webhook-id` is the same for the same account and message.
        """
        return await self._ask(question(case, with_text=self.config.text))

    def default(self) -> dict[str, Any]:
        """As configured."""
        return dict(self.config.default)

    async def check(self) -> Health:
        """Ask about nobody, as `facts.check`. Raises what a question raises."""
        await self._ask({"type": "facts.check", "data": {}})
        return Health(ok=True)

    async def _ask(self, document: dict[str, Any]) -> dict[str, Any]:
        now = self.setup.time.now()
        document = {**document, "timestamp": now.astimezone(UTC).isoformat().replace("+00:00", "Z")}
        named = json.dumps(document["data"], sort_keys=True).encode()
        body = json.dumps(document, separators=(",", ":")).encode("ascii")
        headers = sign_standard(self.config.secret.get_secret_value(), hashlib.sha256(named).hexdigest(), now, body)
        try:
            answer = await call(
                self.http,
                "POST",
                self.config.url,
                effect=False,
                now=now,
                label="the facts' address",
                content=body,
                headers={**headers, "content-type": "application/json"},
            )
        except Gone:
            return {}
        if answer.status_code == 204:
            return {}
        if not answer.content:
            raise Malformed("the facts' address answered nothing; 204 or 404 says that nothing is known", code="empty")
        return json_object(answer)


def question(case: Case, *, with_text: bool) -> dict[str, Any]:
    """What is asked: who wrote, where, to which brand."""
    said = case.interaction
    data: dict[str, Any] = {"brand": case.brand, "source": case.source, "connection": case.connection}
    if said is not None:
        data["author"] = said.author.model_dump(mode="json", exclude_none=True)
        data["interaction"] = {"external_id": said.external_id, "kind": said.kind, "visibility": said.visibility}
        if with_text:
            data["interaction"]["text"] = said.text
    return {"type": "facts.requested", "data": data}
