"""The token that a call carries: the Page's, found with that of a person who manages it, or the Instagram account's."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any

from gateway_meta.config import MetaConfig
from gateway_schemas.plugin import StateStore
from gateway_schemas.time import TimeSource

RENEW_WITHIN = timedelta(days=30)
"""A long-lived token of Instagram Login lives 60 days and can be renewed once it is a day old."""
Ask = Callable[[str], Awaitable[dict[str, Any]]]


class Tokens:
    """The account's token in force; what was found or renewed outlives restarts in the state document."""

    def __init__(self, config: MetaConfig, state: StateStore, time: TimeSource) -> None:
        self.config = config
        self._state = state
        self._time = time
        self._given = config.access_token.get_secret_value()
        self._known: str | None = None
        self._expires_at: datetime | None = None
        self._loaded = False

    @property
    def given(self) -> str:
        """The token as it was entered."""
        return self._given

    @property
    def expires_at(self) -> datetime | None:
        """When the token ends, where a renewal said so."""
        return self._expires_at

    @property
    def _of(self) -> str:
        """Which entered token the kept one was made from: another one entered makes it void."""
        return hashlib.sha256(self._given.encode()).hexdigest()[:16]

    async def access(self, page_token: Ask) -> str:
        """The token to call with. `page_token` asks Meta for the Page's, once. Raises GatewayError."""
        await self._load()
        if self._known is None and not self.config.instagram_login:
            found = await page_token(self._given)
            token = found.get("access_token")
            # without it the entered token is used as it is, and refused where it is none of the Page
            await self._keep(token if isinstance(token, str) and token else self._given, None)
        return self._known or self._given

    async def forget(self) -> bool:
        """Meta refused the token; whether another one can be found from the entered one."""
        found = self._known is not None and self._known != self._given and not self.config.instagram_login
        self._known = None
        if found:
            await self._state.merge({"token": None})
        return found

    @property
    def renewal_due(self) -> bool:
        """Whether the token of Instagram Login should be renewed: it ends within 30 days, or nobody knows when."""
        if not self.config.instagram_login:
            return False
        return self._expires_at is None or self._expires_at - self._time.now() < RENEW_WITHIN

    async def renewed(self, token: str, expires_in: float) -> None:
        """Keep a renewed token, which lives `expires_in` seconds."""
        await self._keep(token, self._time.now() + timedelta(seconds=expires_in))

    async def _load(self) -> None:
        if self._loaded:
            return
        kept = (await self._state.load()).get("token")
        if isinstance(kept, dict) and kept.get("of") == self._of and isinstance(kept.get("value"), str):
            self._known = kept["value"]
            until = kept.get("expires_at")
            self._expires_at = datetime.fromisoformat(until) if isinstance(until, str) else None
        self._loaded = True

    async def _keep(self, token: str, expires_at: datetime | None) -> None:
        self._known, self._expires_at = token, expires_at
        until = expires_at.isoformat() if expires_at else None
        await self._state.merge({"token": {"of": self._of, "value": token, "expires_at": until}})
