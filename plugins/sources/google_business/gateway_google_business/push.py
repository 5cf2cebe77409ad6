"""Whether a push request is Google's: Pub/Sub signs a token (OpenID Connect) for our subscription's service account.

The token names for whom it was made (`aud`) and by which service account (`email`); the key it is signed with is among
Google's published ones. It does not cover the body.
https://cloud.google.com/pubsub/docs/authenticate-push-subscriptions
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from joserfc import jws, jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from gateway_google_business.config import GoogleApp
from gateway_schemas.errors import UnknownKey, Unverified
from gateway_schemas.webhook import WebhookRequest

KEYS = "google"
ISSUERS = ("https://accounts.google.com", "accounts.google.com")
LEEWAY = timedelta(seconds=60)
"""How far Google's clock may be from ours."""
LONGEST = timedelta(hours=1)
"""Google's tokens live an hour."""
_PREFIX = "bearer "
_LONGEST_TOKEN = 8192


def verify_push(request: WebhookRequest, app: GoogleApp, keys: Mapping[str, Any]) -> None:
    """Check the token of a push request. Raises Unverified, and UnknownKey where its key is not among Google's."""
    if app.push_audience is None or app.push_service_account is None:
        reason = "push is not set up: enter push_audience and push_service_account"
        raise Unverified(reason, code="no_push")
    if request.method != "POST":
        raise Unverified(f"Pub/Sub sends no {request.method}", code="wrong_method")
    given = request.header("authorization") or ""
    if not given.lower().startswith(_PREFIX):
        raise Unverified("the header authorization has no bearer token", code="missing_signature")
    claims = _claims(given[len(_PREFIX) :].strip(), keys)
    _check_times(claims, request.received_at)
    if claims.get("iss") not in ISSUERS:
        raise Unverified("the token was not issued by Google", code="wrong_issuer")
    if claims.get("aud") != app.push_audience:
        raise Unverified("the token was made for another audience than push_audience", code="wrong_audience")
    # without `email_verified` the address proves nothing
    if claims.get("email") != app.push_service_account or claims.get("email_verified") is not True:
        raise Unverified("the token is not that of push_service_account", code="wrong_sender")


def _claims(token: str, keys: Mapping[str, Any]) -> Mapping[str, Any]:
    if len(token) > _LONGEST_TOKEN:
        raise Unverified("the token is too long", code="malformed_signature")
    try:
        kid = jws.extract_compact(token.encode("ascii")).headers().get("kid")
    except (JoseError, ValueError, TypeError, KeyError, RecursionError):
        raise Unverified("the token is no JWT", code="malformed_signature") from None
    known = [key for key in keys.get("keys", ()) if isinstance(key, dict) and key.get("kid") == kid]
    if not isinstance(kid, str) or not known:
        raise UnknownKey("the token is signed with a key that is not among Google's")
    try:
        # one algorithm only: with more, a public key could be taken for a shared secret
        return jwt.decode(token, KeySet.import_key_set({"keys": known[:1]}), algorithms=["RS256"]).claims
    except (JoseError, ValueError, TypeError, KeyError, RecursionError):
        raise Unverified("the token's signature is wrong", code="wrong_signature") from None


def _check_times(claims: Mapping[str, Any], now: datetime) -> None:
    until, since = _time(claims.get("exp")), _time(claims.get("iat"))
    if until is None or since is None:
        raise Unverified("the token does not say when it was made and when it ends", code="missing_timestamp")
    if now > until + LEEWAY or now > since + LONGEST + LEEWAY:
        raise Unverified("the token has ended", code="stale_timestamp")
    if since > now + LEEWAY:
        raise Unverified("the token was made in the future", code="stale_timestamp")


def _time(value: Any) -> datetime | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return datetime.fromtimestamp(value, UTC)
    except (ValueError, OverflowError, OSError):
        return None
