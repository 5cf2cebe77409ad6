"""The twin's Pub/Sub push: wake-ups with names, carried by really signed tokens."""

from __future__ import annotations

import base64
import json
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any

from joserfc import jwt
from joserfc.jwk import RSAKey

from gateway_google_business.twin_state import Json, TwinReview, iso

if TYPE_CHECKING:
    from gateway_google_business.twin import GoogleTwin

TOKEN_LIFE = 3600


@cache
def _key(number: int) -> RSAKey:
    """Making one takes a while, so twins of a process share them."""
    return RSAKey.generate_key(2048, {"kid": f"twin-key-{number}", "use": "sig", "alg": "RS256"})


class Keys:
    """Google's signing keys: the newest signs, the one before it is published still."""

    def __init__(self) -> None:
        self.current = 1
        self.hidden = False
        """Whether the newest is not published yet."""
        self.max_age = 20_000

    def rotate(self, *, hidden: bool = False) -> None:
        """Sign with another key from now on."""
        self.current += 1
        self.hidden = hidden

    def published(self) -> Json:
        """The JWKS document."""
        newest = self.current - 1 if self.hidden else self.current
        numbers = [number for number in (newest, newest - 1) if number > 0]
        return {"keys": [dict(_key(number).as_dict(private=False)) for number in numbers]}

    def sign(self, claims: Json, *, kid: str | None = None, key: int | None = None) -> str:
        """A token; another `kid` or key than the current one for those who forge."""
        signing = _key(key or self.current)
        return jwt.encode({"alg": "RS256", "kid": kid or str(signing.kid), "typ": "JWT"}, claims, signing)


def token_claims(audience: str, email: str, now: datetime, /, **changes: Any) -> Json:
    """What Pub/Sub puts into the token of a push request."""
    since = int(now.timestamp())
    claims = {
        "aud": audience,
        "azp": "113774264463038321964",
        "email": email,
        "email_verified": True,
        "exp": since + TOKEN_LIFE,
        "iat": since,
        "iss": "https://accounts.google.com",
        "sub": "113774264463038321964",
    }
    return {key: value for key, value in {**claims, **changes}.items() if value is not None}


class Pusher:
    """Tells the subscriptions of a topic what happened."""

    def __init__(self, twin: GoogleTwin) -> None:
        self.twin = twin
        self._told = 136969346944

    def tell(self, review: TwinReview, kind: str) -> None:
        """Tell everybody who asked for this kind of news of one of the location's accounts."""
        for account in sorted(self.twin.state.locations[review.location].accounts):
            setting = self.twin.state.accounts[account]
            topic = self.twin.state.topics.get(setting.topic)
            if topic is None or not topic.open or kind not in setting.types:
                continue
            location = f"accounts/{account}/locations/{review.location}"
            news = {
                "notificationType": kind,
                "locationName": location,
                "reviewName": f"accounts/{account}/{review.ref}",
            }
            for name, push in topic.subscriptions.items():
                self._push(name, push, news)

    def _push(self, subscription: str, push: Json, news: Json) -> None:
        body = self.body(subscription, news)

        def build() -> tuple[str, dict[str, str], bytes]:
            token = push["oidcToken"]
            claims = token_claims(
                token.get("audience") or push["pushEndpoint"], token["serviceAccountEmail"], self.twin.time.now()
            )
            headers = {"content-type": "application/json", "authorization": f"Bearer {self.twin.keys.sign(claims)}"}
            return push["pushEndpoint"], headers, body

        self.twin.emit(build)

    def body(self, subscription: str, news: Json) -> bytes:
        """The body of a push request."""
        self._told += 1
        id, at = str(self._told), iso(self.twin.time.now())
        data = base64.b64encode(json.dumps(news).encode()).decode()
        # Pub/Sub repeats id and time in the names of its first version
        message = {"data": data, "messageId": id, "message_id": id, "publishTime": at, "publish_time": at}
        return json.dumps({"message": message, "subscription": subscription}).encode()
