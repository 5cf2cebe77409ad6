"""The token endpoint of a provider: Authlib's client, on the gateway's guarded connections, with errors named by
recovery.

What a provider writes beside its error code is for developers and may repeat what was sent, so nothing of it is kept.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import httpx2
from authlib.common.urls import add_params_to_uri, url_decode
from authlib.integrations.base_client import OAuthError
from authlib.integrations.httpx_client import AsyncOAuth2Client
from pydantic import SecretStr

from gateway.net.client import Outgoing, Target
from gateway_schemas.errors import Malformed, Reauthorise, Rejected, Retry
from gateway_schemas.limits import BUCKET, retry_after
from gateway_schemas.oauth import OAuth, OAuthTokens

TOKENS = "oauth_tokens"
"""What requests to token endpoints count against."""
_CODE = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
_NOT_SENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout, httpx2.ProxyError)
_LONGEST = 10 * 366 * 86_400
_CLIENT = frozenset({"invalid_client", "unauthorized_client"})

ClientProof = Callable[[Any, str, str, Any, str], tuple[str, Any, str]]


class TokenEndpoint:
    """Sends people to one provider and exchanges what they bring back."""

    def __init__(
        self, declared: OAuth, outgoing: Outgoing, target: Target, redirect_uri: str, now: Callable[[], datetime]
    ) -> None:
        self._declared = declared
        self._now = now
        secret = declared.client_secret.get_secret_value() if declared.client_secret is not None else None
        self._host = httpx2.URL(declared.token_url).host
        self._client = AsyncOAuth2Client(
            client_id=declared.client_id,
            client_secret=secret,
            redirect_uri=redirect_uri,
            code_challenge_method="S256",
            event_hooks={"request": [_in_bucket]},
            **outgoing.options(target),
        )
        proof = {
            "basic": "client_secret_basic",
            "post": "client_secret_post",
            "json": _in_json,
            "none": "none",
        }[declared.client_authentication]
        self._proof: Any = self._client.client_auth(proof)
        self._exchange_proof: Any = self._client.client_auth(_in_query) if declared.method == "GET" else self._proof
        self._client.register_compliance_hook("access_token_response", self._checked)
        self._client.register_compliance_hook("refresh_token_response", self._checked)

    def address(self, state: str, verifier: str | None) -> str:
        """Where the person is sent."""
        declared = self._declared
        url, _ = self._client.create_authorization_url(
            declared.authorise_url,
            state=state,
            code_verifier=verifier,
            scope=declared.scope_separator.join(declared.scopes),
            **declared.authorise_parameters,
        )
        return str(url)

    async def exchange(self, code: str, verifier: str | None) -> OAuthTokens:
        """The tokens for a code. Raises Reauthorise when the provider does not take it, and other GatewayErrors."""
        more = {"code_verifier": verifier} if verifier is not None else {}
        with self._named():
            answer = await self._client.fetch_token(
                self._declared.token_url,
                grant_type="authorization_code",
                code=code,
                method=self._declared.method,
                auth=self._exchange_proof,
                **self._declared.token_parameters,
                **more,
            )
            return self._tokens(answer, None)

    async def refresh(self, refresh: SecretStr) -> OAuthTokens:
        """New tokens for a refresh token; with it, where the answer has no other. Raises Reauthorise when the consent
        is over, and other GatewayErrors."""
        with self._named():
            answer = await self._client.refresh_token(
                self._declared.token_url,
                refresh_token=refresh.get_secret_value(),
                auth=self._proof,
                **self._declared.token_parameters,
            )
            return self._tokens(answer, refresh)

    async def revoke(self, token: SecretStr, hint: str) -> None:
        """Give a token back. Raises GatewayError."""
        assert self._declared.revoke_url is not None
        with self._named():
            answer = await self._client.revoke_token(
                self._declared.revoke_url, token=token.get_secret_value(), token_type_hint=hint, auth=self._proof
            )
            self._checked(answer)

    def _checked(self, response: httpx2.Response) -> httpx2.Response:
        """Refusals, before the library reads them as something else."""
        status = response.status_code
        if response.is_success:
            return response
        if status in (408, 425, 429) or status >= 500:
            after = retry_after(response.headers.get("retry-after"), self._now())
            raise Retry(f"{self._host} answered {status} for a token", after=after, code=f"http_{status}")
        raise self._refusal(_code(response) or f"http_{status}")

    def _refusal(self, code: str) -> Reauthorise | Rejected:
        if code in self._declared.refused:
            return Reauthorise(f"{self._host} does not take the consent any more ({code})", code=code)
        if code in _CLIENT:
            reason = f"{self._host} does not take the client id and secret ({code}): enter the current ones"
            return Rejected(reason, code=code)
        return Rejected(f"{self._host} gives no token ({code})", code=code)

    @contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except OAuthError as error:
            named = str(error.error)
            raise self._refusal(named if _CODE.fullmatch(named) else "no_code") from None
        except _NOT_SENT as error:
            raise Retry(f"{self._host} was not reached: {type(error).__name__}", code="not_sent") from None
        except httpx2.HTTPError as error:
            raise Retry(f"{self._host} did not finish its answer: {type(error).__name__}", code="interrupted") from None
        except (httpx2.InvalidURL, ValueError, TypeError, KeyError) as error:
            raise Malformed(f"{self._host} answered no token: {type(error).__name__}", code="malformed") from None

    def _tokens(self, answer: Mapping[str, Any], before: SecretStr | None) -> OAuthTokens:
        access, refresh, scope = (answer.get(name) for name in ("access_token", "refresh_token", "scope"))
        if not isinstance(access, str) or not access:
            raise Malformed(f"{self._host} answered without an access_token", code="malformed")
        declared = self._declared
        renewed = SecretStr(refresh) if isinstance(refresh, str) and refresh else before
        return OAuthTokens(
            access=SecretStr(access),
            refresh=renewed,
            expires_in=_life(answer.get("expires_in")) or declared.access_life,
            refresh_expires_in=_life(answer.get("refresh_token_expires_in")) or declared.refresh_life,
            scopes=tuple(scope.replace(",", " ").split()) if isinstance(scope, str) and scope else None,
        )


async def _in_bucket(request: httpx2.Request) -> None:
    """A token endpoint that asks to wait must not stop the calls of its API, nor they it."""
    request.extensions[BUCKET] = TOKENS


def _life(seconds: object) -> timedelta | None:
    """A number of seconds, also as text; whatever cannot be one is none."""
    try:
        number = float(seconds) if isinstance(seconds, int | float | str) and not isinstance(seconds, bool) else 0.0
    except ValueError:
        return None
    return timedelta(seconds=number) if 0 < number <= _LONGEST else None


def _code(response: httpx2.Response) -> str | None:
    """The error's code: OAuth's text (RFC 6749, 5.2), or the number in an object (Meta)."""
    try:
        body = response.json()
    except (ValueError, RecursionError):
        return None
    error = body.get("error") if isinstance(body, dict) else None
    if isinstance(error, dict):
        error = error.get("code")
    found = str(error) if isinstance(error, str | int) else ""
    return found if _CODE.fullmatch(found) else None


def _in_json(client: Any, method: str, uri: str, headers: Any, body: str) -> tuple[str, Any, str]:
    """All parameters as a JSON object, the client's among them (Zendesk)."""
    form = dict(url_decode(_text(body))) | {"client_id": client.client_id}
    if client.client_secret:
        form["client_secret"] = client.client_secret
    # lifetimes are numbers in Zendesk's JSON
    typed = {
        name: int(value) if name.endswith("expires_in") and value.isdecimal() else value for name, value in form.items()
    }
    headers["Content-Type"] = "application/json"
    return uri, headers, json.dumps(typed)


def _in_query(client: Any, method: str, uri: str, headers: Any, body: str) -> tuple[str, Any, str]:
    """The client in the address (Meta)."""
    pairs = [("client_id", client.client_id)]
    if client.client_secret:
        pairs.append(("client_secret", client.client_secret))
    return add_params_to_uri(uri, pairs), headers, ""


def _text(body: str | bytes) -> str:
    return body.decode() if isinstance(body, bytes) else body
