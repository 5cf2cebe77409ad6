"""The token that every request carries: signed by the App's key, for twenty minutes at most.

"Generating Tokens for API Requests": ES256, header kid, claims iss (sub "user" for an individual key), iat, exp, aud.
The signature is 64 bytes, r and s, as JWS has it and not as DER.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from joserfc import jwt
from joserfc.jwk import ECKey

from gateway_app_store.config import AppStoreApp
from gateway_schemas.time import TimeSource

AUDIENCE = "appstoreconnect-v1"
LIFE = timedelta(minutes=15)
"""Apple takes tokens of twenty minutes; its clock need not be ours."""
_EARLY = timedelta(minutes=2)


class Tokens:
    """The token of one process, made anew before it ends."""

    def __init__(self, app: AppStoreApp, time: TimeSource) -> None:
        self._app = app
        self._time = time
        self._known: tuple[str, datetime] | None = None

    def current(self, *, refused: str | None = None) -> str:
        """A token to call with, and another one than the refused."""
        now = self._time.now()
        if self._known is None or self._known[1] <= now or self._known[0] == refused:
            self._known = (sign(self._app, now), now + LIFE - _EARLY)
        return self._known[0]


def sign(app: AppStoreApp, now: datetime) -> str:
    """A token that is good from now on."""
    claims: dict[str, Any] = {"iss": app.issuer_id} if app.issuer_id else {"sub": "user"}
    claims |= {"iat": int(now.timestamp()), "exp": int((now + LIFE).timestamp()), "aud": AUDIENCE}
    header = {"alg": "ES256", "kid": app.key_id, "typ": "JWT"}
    return jwt.encode(header, claims, ECKey.import_key(app.private_key.get_secret_value()), algorithms=["ES256"])
