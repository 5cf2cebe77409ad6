"""A company's OpenID Connect provider for tests: discovery, published keys, and tokens signed with real ones."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

from joserfc import jwt
from joserfc.jwk import ECKey, Key, OKPKey, RSAKey
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from gateway_schemas.testing.twin import Twin
from gateway_schemas.time import TimeSource

AUDIENCE = "helpdesk-gateway"


class Provider(Twin):
    """Signs in whoever a test names."""

    name = "openid"

    def __init__(self, *, time: TimeSource | None = None) -> None:
        super().__init__(time=time)
        self.keys: dict[str, Key] = {}
        self.metadata: dict[str, Any] = {}
        """What it says of itself beyond what is true."""
        self.published: list[dict[str, Any]] = []
        """Keys beside its own, as they are."""
        self.rotate("one")

    def routes(self) -> Sequence[BaseRoute]:
        async def metadata(_: Request) -> Response:
            says = {
                "issuer": self.url,
                "authorization_endpoint": f"{self.url}/authorize",
                "token_endpoint": f"{self.url}/token",
                "jwks_uri": f"{self.url}/keys",
                "response_types_supported": ["code"],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": ["RS256"],
            }
            return JSONResponse({**says, **self.metadata})

        async def keys(_: Request) -> Response:
            own = [{**key.as_dict(private=False), "kid": kid, "use": "sig"} for kid, key in self.keys.items()]
            return JSONResponse({"keys": [*self.published, *own]})

        return [Route("/.well-known/openid-configuration", metadata), Route("/keys", keys)]

    def rotate(self, kid: str, kind: str = "RSA", *, keep: bool = True) -> None:
        """Sign with a new key from now on; without `keep` the others are withdrawn."""
        if not keep:
            self.keys.clear()
        self.keys[kid] = make_key(kind, kid)

    def fetched(self, path: str = "/keys") -> int:
        """How often something was fetched."""
        return sum(one == path for _, one, _ in self.requests)

    def claims(self, subject: str = "ada", **changes: Any) -> dict[str, Any]:
        """What a token says; a claim changed to None is left out."""
        now = int(self.time.now().timestamp())
        usual = {"iss": self.url, "aud": AUDIENCE, "sub": subject, "iat": now, "exp": now + 600}
        return {name: value for name, value in {**usual, **changes}.items() if value is not None}

    def token(
        self,
        subject: str = "ada",
        *,
        kid: str | None = None,
        key: Any = None,
        header: Mapping[str, Any] | None = None,
        **changes: Any,
    ) -> str:
        """A token, signed with the newest key unless told otherwise."""
        kid = kid or list(self.keys)[-1]
        key = key or self.keys[kid]
        said = {"alg": _ALGORITHMS[key.key_type], "kid": kid, **(header or {})}
        said = {name: value for name, value in said.items() if value is not None}
        return jwt.encode(said, self.claims(subject, **changes), key, algorithms=[said["alg"]])


_ALGORITHMS = {"RSA": "RS256", "EC": "ES256", "OKP": "Ed25519", "oct": "HS256"}


@functools.cache
def make_key(kind: str, name: str) -> Key:
    """A key, the same for each use of the name: making one takes long."""
    match kind:
        case "RSA":
            return RSAKey.generate_key(2048)
        case "EC":
            return ECKey.generate_key("P-256")
    return OKPKey.generate_key("Ed25519")
