"""People's tokens: signed by the company's OpenID Connect provider, checked here against its published keys.

The provider is found by its issuer alone (OpenID Connect Discovery). A token is believed when its signature is by one
of the provider's keys, with an algorithm of `ALGORITHMS`, when it was issued by this issuer for this audience, and when
its times hold. While the provider cannot be reached, its metadata and keys are used as they are known; a token that
cannot be judged then is neither believed nor refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast
from uuid import UUID, uuid5

from authlib.oidc.discovery import OpenIDProviderMetadata, get_well_known_url
from joserfc import jws, jwt
from joserfc.errors import ExpiredTokenError, InvalidClaimError, JoseError, MissingClaimError
from joserfc.jwk import JWKRegistry, Key
from joserfc.util import base64_to_int

from gateway.net.client import Outgoing, Target
from gateway.net.documents import DocumentUnavailable, RemoteDocument
from gateway.net.key_sets import KeySet, KeySets
from gateway.security.roles import Role
from gateway.settings import Settings
from gateway_schemas.time import TimeSource

ALGORITHMS: dict[str, str] = {
    **{f"{family}{bits}": "RSA" for family in ("RS", "PS") for bits in (256, 384, 512)},
    **{f"ES{bits}": "EC" for bits in (256, 384, 512)},
    "Ed25519": "OKP",
    "EdDSA": "OKP",
}
"""The algorithms that a token may be signed with, and the type of key each takes. None is symmetric: with one of those,
a public key could be taken for a shared secret."""
TYPES = {"jwt", "at+jwt", "application/jwt", "application/at+jwt"}
"""What `typ` may say, where it says anything: a token made for something else (a logout, …) opens nothing."""
LONGEST = 16 * 1024
"""The most characters of a token."""
SMALLEST_RSA = 2048
_FORM = re.compile(r"ey[\w-]+\.[\w-]+\.[\w-]*", re.ASCII)
_SUBJECT = re.compile(r"[^\x00-\x1f\x7f\ud800-\udfff]{1,255}")
_EMAIL = re.compile(r"[^@\s\x00-\x1f\x7f\ud800-\udfff]{1,64}@[^@\s\x00-\x1f\x7f\ud800-\udfff]{1,255}")
_NAMES = UUID("1f0a1f0e-5bfb-5a7c-9d0e-3c6a3fb5f1f4")


class TokenRefused(Exception):
    """The token opens nothing; the message says why, to whoever holds it."""


class ProviderAway(Exception):
    """The provider cannot be asked, and without it the token can be neither believed nor refused."""


@dataclass(frozen=True)
class Identity:
    """Whom a token speaks of."""

    issuer: str
    subject: str
    name: str
    email: str | None
    """Only where the provider says that it is theirs."""
    roles: tuple[Role, ...]

    @property
    def id(self) -> UUID:
        """The same for each token of this subject."""
        return uuid5(_NAMES, f"{self.issuer} {self.subject}")


def looks_like_token(value: str) -> bool:
    """Whether this is a signed JWT by its form; an API key is not."""
    return _FORM.fullmatch(value) is not None


class _Metadata(RemoteDocument):
    """What the provider publishes of itself."""

    what = "the metadata of the OpenID Connect provider"
    issuer = ""

    def read(self, body: bytes) -> Mapping[str, Any]:
        """Read the document. Raises ValueError when it is none, or somebody else's."""
        document = json.loads(body)
        if not isinstance(document, dict):
            raise ValueError("the answer is no JSON object")
        if document.get("issuer") != self.issuer:
            # Discovery 4.3: they must be identical
            raise ValueError(f"it calls itself {str(document.get('issuer'))[:200]!r}; set GATEWAY_OIDC_ISSUER to that")
        if not isinstance(document.get("jwks_uri"), str):
            raise ValueError("it has no jwks_uri")
        OpenIDProviderMetadata(document).validate_jwks_uri()
        return document


class OpenId:
    """The company's provider. One per process; nothing is fetched before the first token."""

    def __init__(self, settings: Settings, outgoing: Outgoing, time: TimeSource) -> None:
        assert settings.oidc_issuer is not None
        self.issuer = settings.oidc_issuer
        self._settings = settings
        self._time = time
        self._sets = KeySets(outgoing, time)
        target = Target(
            budget_key=f"keys:{self.issuer}",
            allowed_origins=(self.issuer,),
            allow_private=settings.oidc_allow_private,
        )
        url = get_well_known_url(self.issuer, external=True)
        self._metadata = _Metadata(url, outgoing.client(target), time)
        self._metadata.issuer = self.issuer

    @classmethod
    def open(cls, settings: Settings, outgoing: Outgoing, time: TimeSource) -> OpenId | None:
        """The provider of the settings, where they name one."""
        return cls(settings, outgoing, time) if settings.oidc_issuer is not None else None

    async def identify(self, token: str) -> Identity:
        """Whom a token speaks of. Raises TokenRefused and ProviderAway."""
        header = self._header(token)
        keys = await self._keys()
        key = _find(keys.document, header)
        if key is None and await keys.renew():
            key = _find(keys.document, header)
        if key is None and keys.failing:
            raise ProviderAway("The token is signed with a key that is not known yet, and the provider is away.")
        if key is None:
            raise TokenRefused("The token is signed with a key that is not among the provider's.")
        try:
            claims = jwt.decode(token, key, algorithms=list(ALGORITHMS)).claims
        except (JoseError, ValueError, TypeError, KeyError, RecursionError):
            raise TokenRefused("The token's signature is wrong.") from None
        self._check(claims)
        return self._identity(claims)

    def _header(self, token: str) -> Mapping[str, Any]:
        if len(token) > LONGEST:
            raise TokenRefused(f"The token has more than {LONGEST} characters.")
        try:
            header = jws.extract_compact(token.encode("ascii")).headers()
        except (JoseError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
            raise TokenRefused("The token is no signed JWT.") from None
        if header.get("alg") not in ALGORITHMS:
            raise TokenRefused(f"Tokens signed with {str(header.get('alg'))[:20]} are not accepted.")
        if str(header.get("typ", "JWT")).lower() not in TYPES:
            raise TokenRefused("The token is of another type than an access or identity token.")
        return header

    async def _keys(self) -> KeySet:
        try:
            await self._metadata.ready()
            keys = self._sets.set(self._metadata.document["jwks_uri"], self._settings.oidc_allow_private)
            await keys.ready()
        except (DocumentUnavailable, ValueError) as error:
            raise ProviderAway(f"The OpenID Connect provider cannot be asked: {error}.") from error
        return keys

    def _check(self, claims: dict[str, Any]) -> None:
        registry = jwt.JWTClaimsRegistry(
            now=lambda: int(self._time.now().timestamp()),
            leeway=int(self._settings.oidc_leeway),
            iss={"essential": True, "value": self.issuer},
            aud={"essential": True, "values": list(self._settings.oidc_audience)},
            exp={"essential": True},
            sub={"essential": True},
        )
        try:
            registry.validate(claims)
        except ExpiredTokenError:
            raise TokenRefused("The token has expired.") from None
        except MissingClaimError as error:
            raise TokenRefused(f"The token lacks the claim {error.claim}.") from None
        except InvalidClaimError as error:
            raise TokenRefused(_WRONG.get(error.claim, f"The token's claim {error.claim} is not valid.")) from None
        if not _SUBJECT.fullmatch(claims["sub"]):
            raise TokenRefused("The token's claim sub names nobody: 1 to 255 characters are needed.")

    def _identity(self, claims: Mapping[str, Any]) -> Identity:
        email = claims.get("email")
        verified = claims.get("email_verified", self._settings.oidc_trust_email)
        # some providers send the word for it
        known = isinstance(email, str) and _EMAIL.fullmatch(email) and (verified is True or verified == "true")
        named = [claims.get(name) for name in ("name", "preferred_username", "email", "sub")]
        return Identity(
            issuer=self.issuer,
            subject=claims["sub"],
            name=next((clean for one in named if isinstance(one, str) and (clean := _clean(one))), "somebody"),
            email=cast(str, email).casefold() if known else None,
            roles=self._roles(claims),
        )

    def _roles(self, claims: Mapping[str, Any]) -> tuple[Role, ...]:
        given = _claim(claims, self._settings.oidc_role_claim)
        values = given.split() if isinstance(given, str) else given if isinstance(given, list) else ()
        mapped = self._settings.oidc_roles
        held = {role for value in values if isinstance(value, str) for role in mapped.get(value, ())}
        return tuple(role for role in Role if role in held)


_WRONG = {
    "iss": "The token was issued by somebody else than the provider of this gateway.",
    "aud": "The token was made for another audience.",
    "nbf": "The token is not valid yet.",
    "iat": "The token was issued in the future.",
}


def _find(document: Mapping[str, Any], header: Mapping[str, Any]) -> Key | None:
    """The provider's key that a token says it is signed with."""
    fitting = [key for key in document["keys"] if _fits(key, header["alg"])]
    if "kid" in header:
        fitting = [key for key in fitting if key.get("kid") == header["kid"]]
    elif len(fitting) > 1:
        return None  # a token that does not say which is tried with none
    return _imported(fitting[0]) if fitting else None


def _fits(key: Mapping[str, Any], algorithm: str) -> bool:
    operations = key.get("key_ops")
    return (
        key.get("kty") == ALGORITHMS[algorithm]
        and key.get("use", "sig") == "sig"
        and key.get("alg", algorithm) == algorithm
        and (not isinstance(operations, list) or "verify" in operations)
    )


def _imported(key: Mapping[str, Any]) -> Key | None:
    try:
        if key["kty"] == "RSA" and base64_to_int(key["n"]).bit_length() < SMALLEST_RSA:
            return None
        # its numbers only: the certificates that some providers send along are not looked at
        return JWKRegistry.import_key({name: key[name] for name in ("kty", "n", "e", "crv", "x", "y") if name in key})
    except (JoseError, ValueError, TypeError, KeyError):
        return None


def _claim(claims: Mapping[str, Any], path: str) -> Any:
    """A claim by its name, or by a path of names: `realm_access.roles`."""
    if path in claims:
        return claims[path]
    found: Any = claims
    for name in path.split("."):
        if not isinstance(found, dict):
            return None
        found = found.get(name)
    return found


def _clean(text: str) -> str:
    """What can be stored and shown of a name."""
    text = text.encode("utf-8", "replace").decode("utf-8")
    return "".join(one for one in text if one.isprintable()).strip()[:200]
